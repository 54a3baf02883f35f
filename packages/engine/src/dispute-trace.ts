/** What a dispute over one step is made of: traces of operations, partial sums, openings. Spec: `docs/spec/20-dispute-trace.md`. */
export {
  type Accumulation,
  accumulationOf,
  type AccumulationStep,
  accumulators,
  applyStep,
  type Condition,
  elementOperands,
  type ElementOperand,
  type Operand,
} from './dispute/terms.ts';
export { type OperationTrace, repeatedRoot, traceOperations, type TraceOptions, traceStep } from './dispute/trace.ts';
export {
  type OpenedElement,
  openOperation,
  openStep,
  type OperationOpening,
  type PartialSums,
  type StepOpening,
  tracePartialSums,
  type ValueOpening,
  verifyOpenedElement,
  verifyValue,
} from './dispute/opening.ts';
