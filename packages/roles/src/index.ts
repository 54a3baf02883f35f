export * from './assignments.ts';
export * from './coordinator.ts';
export * from './history.ts';
export * from './link.ts';
export * from './material.ts';
export * from './proof.ts';
export * from './trainer.ts';
export * from './validator.ts';
