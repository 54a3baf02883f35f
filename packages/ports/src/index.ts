export type * from './chain.ts';
export type * from './platform.ts';
export type * from './stores.ts';
