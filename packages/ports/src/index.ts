export * from './cached.ts';
export type * from './chain.ts';
export * from './memory.ts';
export type * from './platform.ts';
export type * from './stores.ts';
