export * from './aggregate.ts';
export * from './assign.ts';
export * from './batch.ts';
export * from './digest-interval.ts';
export * from './duties.ts';
export * from './evaluate.ts';
export * from './invariants.ts';
export * from './job.ts';
export * from './publish.ts';
export * from './reputation.ts';
export * from './reward.ts';
export * from './simulate.ts';
export * from './slashing.ts';
export {
  noFaults,
  simulatedNode,
  simulatedSpec,
  type SimulatedFaults,
  type SimulatedStep,
  type SimulatedTask,
  type SimulationOptions,
  type SimulationResult,
} from './simulation.ts';
export * from './state.ts';
export * from './tensors.ts';
export * from './train.ts';
export * from './validate.ts';
