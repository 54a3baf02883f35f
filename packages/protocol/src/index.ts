export * from './abi.ts';
export * from './canonical.ts';
export * from './errors.ts';
export * from './hash.ts';
export * from './ids.ts';
export * from './objects.ts';
export * from './schema.ts';
