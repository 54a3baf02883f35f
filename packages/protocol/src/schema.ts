/**
 * Decoders: `unknown` in, a typed value or a coded error out.
 *
 * A `Schema<T>` reads a decoded DAG-CBOR or JSON value. Objects are exact: an unknown or missing field is FIELD_INVALID and
 * names its path. There are no optional fields; `nullable` says so in the bytes. Lengths are always bounded.
 */
import { CID } from 'multiformats/cid';
import { MusterError } from './errors.ts';
import {
  type Address,
  type CidText,
  type JobId,
  type NodeId,
  parseAddress,
  parseCid,
  parseJobId,
  parseNodeId,
  parseRoot,
  type Root,
} from './ids.ts';

/** Reads `value` found at `path`; throws FIELD_INVALID naming the path. */
export type Schema<T> = (value: unknown, path: string) => T;
export type Infer<S> = S extends Schema<infer T> ? T : never;

export function fieldError(path: string, expected: string, value: unknown): MusterError {
  const shown =
    typeof value === 'string' ? `"${value.slice(0, 60)}"` : value === null || typeof value !== 'object' ? String(value) : typeof value;
  return new MusterError('FIELD_INVALID', `${path}: expected ${expected}, got ${shown}`, { field: path, expected });
}

/** An integer in [minimum, maximum]. */
export function integer(minimum = 0, maximum = Number.MAX_SAFE_INTEGER): Schema<number> {
  return (value, path) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
      throw fieldError(path, `an integer from ${minimum} to ${maximum}`, value);
    }
    return value;
  };
}

/** A finite number in [minimum, maximum]. */
export function finite(minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE): Schema<number> {
  return (value, path) => {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < minimum || value > maximum) {
      throw fieldError(path, `a number from ${minimum} to ${maximum}`, value);
    }
    return value;
  };
}

/** A string of at most `maxLength` UTF-16 units, matching `pattern` if given. */
export function text(maxLength: number, pattern?: RegExp): Schema<string> {
  return (value, path) => {
    if (typeof value !== 'string' || value.length > maxLength) throw fieldError(path, `text of at most ${maxLength} characters`, value);
    if (pattern !== undefined && !pattern.test(value)) throw fieldError(path, `text matching ${pattern.source}`, value);
    return value;
  };
}

export const bool: Schema<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw fieldError(path, 'true or false', value);
  return value;
};

/** Bytes, at most `maxLength`; exactly `maxLength` if `exact`. */
export function byteString(maxLength: number, exact = false): Schema<Uint8Array> {
  return (value, path) => {
    if (!(value instanceof Uint8Array) || value.length > maxLength || (exact && value.length !== maxLength)) {
      throw fieldError(path, `${exact ? 'exactly' : 'at most'} ${maxLength} bytes`, value);
    }
    return value;
  };
}

export function literal<const T extends string | number | boolean>(expected: T): Schema<T> {
  return (value, path) => {
    if (value !== expected) throw fieldError(path, JSON.stringify(expected), value);
    return expected;
  };
}

export function oneOf<const T extends string>(...options: readonly T[]): Schema<T> {
  return (value, path) => {
    const found = options.find((option) => option === value);
    if (found === undefined) throw fieldError(path, `one of ${options.join(', ')}`, value);
    return found;
  };
}

export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return (value, path) => (value === null ? null : schema(value, path));
}

/** A list of `minLength` to `maxLength` items. */
export function list<T>(schema: Schema<T>, maxLength: number, minLength = 0): Schema<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > maxLength || value.length < minLength) {
      throw fieldError(path, `a list of ${minLength} to ${maxLength} items`, Array.isArray(value) ? `${value.length} items` : value);
    }
    return value.map((item, index) => schema(item, `${path}[${index}]`));
  };
}

/** An object with exactly the fields of `shape`. */
export function struct<S extends Record<string, Schema<unknown>>>(shape: S): Schema<{ readonly [K in keyof S]: Infer<S[K]> }> {
  return (value, path) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array || CID.asCID(value) !== null) {
      throw fieldError(path, 'an object', value);
    }
    const source = value as Record<string, unknown>;
    for (const key of Object.keys(source)) {
      if (!Object.hasOwn(shape, key)) {
        throw new MusterError('FIELD_INVALID', `${path}.${key.slice(0, 60)}: unknown field`, {
          field: `${path}.${key.slice(0, 60)}`,
          expected: 'no such field',
        });
      }
    }
    const result: Record<string, unknown> = {};
    for (const [key, schema] of Object.entries(shape)) {
      if (!Object.hasOwn(source, key)) {
        throw new MusterError('FIELD_INVALID', `${path}.${key}: missing`, { field: `${path}.${key}`, expected: 'a value' });
      }
      result[key] = schema(source[key], `${path}.${key}`);
    }
    return result as { readonly [K in keyof S]: Infer<S[K]> };
  };
}

/** A union told apart by the string in `tag`. */
export function variant<S extends Record<string, Schema<object>>>(
  tag: string,
  shapes: S,
): Schema<{ [T in keyof S]: Infer<S[T]> }[keyof S]> {
  return (value, path) => {
    const kind = value !== null && typeof value === 'object' ? (value as Record<string, unknown>)[tag] : undefined;
    const schema = typeof kind === 'string' && Object.hasOwn(shapes, kind) ? shapes[kind] : undefined;
    if (schema === undefined) throw fieldError(`${path}.${tag}`, `one of ${Object.keys(shapes).join(', ')}`, kind);
    return schema(value, path) as { [T in keyof S]: Infer<S[T]> }[keyof S];
  };
}

function parsed<T>(parse: (value: string) => T, what: string): Schema<T> {
  return (value, path) => {
    if (typeof value !== 'string') throw fieldError(path, what, value);
    try {
      return parse(value);
    } catch {
      throw fieldError(path, what, value);
    }
  };
}

export const rootText: Schema<Root> = parsed(parseRoot, '32 bytes of 0x-hex');
export const nodeIdText: Schema<NodeId> = parsed(parseNodeId, 'a node id');
export const jobIdText: Schema<JobId> = parsed(parseJobId, 'a job id');
export const addressText: Schema<Address> = parsed(parseAddress, 'an account address');
export const cidText: Schema<CidText> = parsed(parseCid, 'a content id');

/** A DAG-CBOR link, read as its text. Encode it with `linkOf`. */
export const link: Schema<CidText> = (value, path) => {
  const cid = CID.asCID(value);
  if (cid === null) throw fieldError(path, 'a link', value);
  return parseCid(cid.toString());
};
