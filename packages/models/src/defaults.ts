/** Fields that a JSON file may leave out. What is decoded, and whatever is hashed, always has all of them. */
import type { Schema } from '@muster/protocol';

/** `schema` for objects in which the fields of `defaults` may be missing. */
export function withDefaults<T extends object>(schema: Schema<T>, defaults: Partial<T>): Schema<T> {
  return (value, path) => {
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
    return schema(isObject ? { ...defaults, ...value } : value, path);
  };
}

/** `T`, or each member of a union `T`, in which the fields `K` may be missing. */
export type Given<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> & Partial<Pick<T, K & keyof T>> : never;
