/**
 * A model of how an executor runs a program: which operations become one kernel call, what lies in memory and when. Nothing is executed or
 * allocated; time and memory are linear in the number of operations and operands, whatever the shapes say.
 *
 * It follows the rules of the compiled executors: movement is a view, element-wise operations over one shape are fused until something else
 * reads them, everything else is a call of its own with a buffer for each result. The executors own the truth; `docs/spec/19-planner.md` says
 * how far this model is from it.
 */
import { valueTypes } from '../check.ts';
import {
  broadcastingPrimitives,
  type DType,
  type Operation,
  type PrimitiveName,
  type Program,
  type TensorType,
  unaryPrimitives,
} from '../program.ts';
import { sizeOf } from '../reference/layout.ts';
import { sameShape } from '../shapes.ts';

/** Bytes of a dense tensor of `type`. */
export function bytesOf({ dtype, shape }: TensorType): number {
  return sizeOf(shape) * (dtype === 'bool' ? 1 : 4);
}

/** A run of memory. Lives are in calls: −1 is before the first, `calls.length` after the last. */
export interface Storage {
  readonly bytes: number;
  first: number;
  last: number;
}

export type CallKind = 'elementwise' | 'product' | 'convolution' | 'reduction' | 'movement' | 'order' | 'random';

/** One kernel call. */
export interface Call {
  readonly kind: CallKind;
  /** Operations of the program that it computes, ascending for all but fused ones. */
  readonly operations: readonly number[];
  readonly readBytes: number;
  readonly writeBytes: number;
}

export interface Schedule {
  readonly calls: readonly Call[];
  readonly storages: readonly Storage[];
  /** Call in which each operation is computed; −1 for views. */
  readonly callOf: Int32Array;
  /** The storage that holds each value; −1 for one that never leaves its fused group. */
  readonly storageOf: Int32Array;
  /** Bytes held during each call. */
  readonly heldBytes: Float64Array;
  /** The most of them, and where. */
  readonly peakBytes: number;
  readonly peakCall: number;
}

/** How an operation is run: fused with its like, as a view of its input, or as a call. */
export function modeOf(operation: Operation, from: DType): 'elementwise' | 'view' | 'call' {
  switch (operation.primitive) {
    case 'transpose':
    case 'broadcast':
    case 'reshape':
    case 'flip':
    case 'shrink':
    case 'split':
    case 'pool':
      return 'view';
    case 'cast': {
      const to = operation.params.dtype;
      const sameBits = from === to || (from !== 'float32' && to !== 'float32' && from !== 'bool' && to !== 'bool');
      return sameBits ? 'view' : 'elementwise';
    }
    case 'bitcast':
      return operation.params.dtype === 'float32' && from !== 'float32' ? 'elementwise' : 'view';
    default:
      return broadcastingPrimitives.has(operation.primitive) || unaryPrimitives.has(operation.primitive) ? 'elementwise' : 'call';
  }
}

function kindOf(primitive: PrimitiveName): CallKind {
  switch (primitive) {
    case 'dot':
      return 'product';
    case 'conv':
      return 'convolution';
    case 'reduce':
      return 'reduction';
    case 'sort':
    case 'argsort':
      return 'order';
    case 'random_bits':
      return 'random';
    default:
      return 'movement';
  }
}

/** Operations after which a fused group takes no more. */
const maxGroup = 48;

interface Group {
  readonly shape: readonly number[];
  readonly members: number[];
  /** Storages that its members read, with repetition. */
  readonly reads: number[];
}

class Simulation {
  readonly #program: Program;
  readonly #types: readonly TensorType[];
  readonly #uses: Int32Array;
  readonly #calls: Call[] = [];
  readonly #storages: Storage[] = [];
  readonly #callOf: Int32Array;
  readonly #storageOf: Int32Array;
  readonly #dense: Uint8Array;
  readonly #groupOf: (Group | undefined)[] = [];
  /** Operation that makes each value; −1 for inputs and constants. */
  readonly #maker: Int32Array;
  readonly #groups = new Set<Group>();

  constructor(program: Program) {
    this.#program = program;
    this.#types = valueTypes(program);
    const count = this.#types.length;
    this.#uses = new Int32Array(count);
    this.#callOf = new Int32Array(program.operations.length).fill(-1);
    this.#storageOf = new Int32Array(count).fill(-1);
    this.#dense = new Uint8Array(count).fill(1);
    this.#maker = new Int32Array(count).fill(-1);
    for (const operation of program.operations) for (const input of operation.inputs) this.#count(input, 1);
    for (const { value } of program.outputs) this.#count(value, 1);
  }

  run(state: number): Schedule {
    const program = this.#program;
    const given = program.inputs.length + program.constants.length;
    for (let value = 0; value < given; value++) this.#store(value, -1);
    let next = given;
    program.operations.forEach((operation, index) => {
      for (const _ of operation.outputs) this.#maker[next++] = index;
      this.#operation(operation, index, next - operation.outputs.length);
    });
    const outputs = program.outputs.map(({ value }) => this.#denseStorage(value));
    for (const group of this.#groups) this.#flush(group);
    const end = this.#calls.length;
    for (let value = program.inputs.length; value < given; value++) this.#touch(this.#storageOf[value] as number, end);
    if (state > 0) for (let value = 0; value < program.inputs.length; value++) this.#touch(this.#storageOf[value] as number, end);
    outputs.forEach((storage, index) => {
      this.#touch(storage, end);
      if (index < state) (this.#storages[storage] as Storage).first = -1;
    });
    return { ...this.#held(), calls: this.#calls, storages: this.#storages, callOf: this.#callOf, storageOf: this.#storageOf };
  }

  #count(value: number, by: number): void {
    this.#uses[value] = (this.#uses[value] as number) + by;
  }

  #newStorage(bytes: number, at: number): number {
    this.#storages.push({ bytes, first: at, last: at });
    return this.#storages.length - 1;
  }

  #store(value: number, at: number): void {
    this.#storageOf[value] = this.#newStorage(bytesOf(this.#types[value] as TensorType), at);
  }

  #touch(storage: number, at: number): void {
    const found = this.#storages[storage];
    if (found !== undefined) found.last = Math.max(found.last, at);
  }

  /** Storage of a value, which is computed now if it is pending. */
  #storage(value: number): number {
    const group = this.#groupOf[value];
    if (group !== undefined) this.#flush(group);
    return this.#storageOf[value] as number;
  }

  #denseStorage(value: number): number {
    const storage = this.#storage(value);
    if (this.#dense[value] === 1) return storage;
    const bytes = bytesOf(this.#types[value] as TensorType);
    return this.#call('movement', [], [storage], bytes, [bytes])[0] as number;
  }

  /** A call that reads storages and makes new ones, whose numbers are returned. */
  #call(kind: CallKind, operations: readonly number[], reads: readonly number[], readBytes: number, writes: readonly number[]): number[] {
    const now = this.#calls.length;
    for (const storage of reads) this.#touch(storage, now);
    const made = writes.map((bytes) => this.#newStorage(bytes, now));
    this.#calls.push({ kind, operations, readBytes, writeBytes: writes.reduce((sum, bytes) => sum + bytes, 0) });
    for (const operation of operations) this.#callOf[operation] = now;
    return made;
  }

  #flush(group: Group): void {
    this.#groups.delete(group);
    const kept = group.members.filter((value) => (this.#uses[value] as number) > 0);
    const reads = [...new Set(group.reads)];
    const elements = sizeOf(group.shape);
    const readBytes = reads.reduce((sum, storage) => sum + Math.min((this.#storages[storage] as Storage).bytes, 4 * elements), 0);
    const operations = group.members.map((value) => this.#maker[value] as number);
    const writes = kept.map((value) => bytesOf(this.#types[value] as TensorType));
    const made = this.#call('elementwise', operations, reads, readBytes, writes);
    kept.forEach((value, index) => {
      this.#storageOf[value] = made[index] as number;
    });
    for (const value of group.members) this.#groupOf[value] = undefined;
  }

  #elementwise(operation: Operation, output: number): void {
    const { shape } = this.#types[output] as TensorType;
    const joins = (value: number): boolean =>
      this.#groupOf[value] !== undefined && sameShape((this.#types[value] as TensorType).shape, shape);
    for (const value of operation.inputs) if (!joins(value)) this.#storage(value);
    let groups = [...new Set(operation.inputs.map((value) => this.#groupOf[value]).filter((group) => group !== undefined))];
    if (groups.reduce((sum, group) => sum + group.members.length, 1) > maxGroup) {
      for (const group of groups) this.#flush(group);
      groups = [];
    }
    const [group = { shape, members: [], reads: [] }, ...others] = groups;
    this.#groups.add(group);
    for (const other of others) {
      this.#groups.delete(other);
      group.members.push(...other.members);
      group.reads.push(...other.reads);
      for (const member of other.members) this.#groupOf[member] = group;
    }
    for (const value of operation.inputs) {
      if (this.#groupOf[value] === undefined) group.reads.push(this.#storageOf[value] as number);
      this.#count(value, -1);
    }
    group.members.push(output);
    this.#groupOf[output] = group;
  }

  #operation(operation: Operation, index: number, output: number): void {
    const [first] = operation.inputs;
    const mode = first === undefined ? 'call' : modeOf(operation, (this.#types[first] as TensorType).dtype);
    if (mode === 'elementwise') return this.#elementwise(operation, output);
    const reads = operation.inputs.map((value) => this.#storage(value));
    for (const value of operation.inputs) this.#count(value, -1);
    if (mode === 'view') return this.#view(operation, first as number, output);
    const readBytes = operation.inputs.reduce((sum, value) => sum + bytesOf(this.#types[value] as TensorType), 0);
    const made = this.#call(kindOf(operation.primitive), [index], reads, readBytes, operation.outputs.map(bytesOf));
    operation.outputs.forEach((_, n) => {
      this.#storageOf[output + n] = made[n] as number;
    });
  }

  #view(operation: Operation, source: number, output: number): void {
    let storage = this.#storageOf[source] as number;
    let dense = this.#dense[source] === 1;
    const from = this.#types[source] as TensorType;
    switch (operation.primitive) {
      case 'reshape':
        if (!dense && !sameShape(longExtents(from.shape), longExtents(operation.params.shape))) {
          const bytes = bytesOf(from);
          storage = this.#call('movement', [], [storage], bytes, [bytes])[0] as number;
          dense = true;
        }
        break;
      case 'cast':
      case 'bitcast':
        break;
      case 'broadcast':
        dense &&= sizeOf(from.shape) === sizeOf(operation.params.shape);
        break;
      case 'transpose':
        dense &&= ascends(operation.params.perm.filter((axis) => from.shape[axis] !== 1));
        break;
      default: {
        // A slice of the first long axis stays dense.
        const axis = from.shape.findIndex((extent) => extent !== 1);
        const result = this.#types[output] as TensorType;
        dense &&= result.shape.length === from.shape.length && result.shape.every((extent, a) => a <= axis || extent === from.shape[a]);
        dense &&= operation.primitive === 'split' || operation.primitive === 'shrink';
      }
    }
    operation.outputs.forEach((_, n) => {
      this.#storageOf[output + n] = storage;
      this.#dense[output + n] = dense ? 1 : 0;
    });
  }

  #held(): Pick<Schedule, 'heldBytes' | 'peakBytes' | 'peakCall'> {
    const end = this.#calls.length;
    const change = new Float64Array(end + 3);
    for (const { bytes, first, last } of this.#storages) {
      change[first + 1] = (change[first + 1] as number) + bytes;
      change[last + 2] = (change[last + 2] as number) - bytes;
    }
    const heldBytes = new Float64Array(Math.max(end, 1));
    let held = change[0] as number;
    let peakBytes = held;
    let peakCall = 0;
    for (let call = 0; call <= end; call++) {
      held += change[call + 1] as number;
      if (call < end || end === 0) heldBytes[Math.min(call, heldBytes.length - 1)] = held;
      if (held > peakBytes) [peakBytes, peakCall] = [held, Math.min(call, Math.max(end - 1, 0))];
    }
    return { heldBytes, peakBytes, peakCall };
  }
}

const longExtents = (shape: readonly number[]): number[] => shape.filter((extent) => extent !== 1);
const ascends = (axes: readonly number[]): boolean => axes.every((axis, i) => i === 0 || axis > (axes[i - 1] as number));

/**
 * How `program`, which has been checked, is run. With `state` > 0 the first outputs are the next run's first inputs, as in a training loop: both
 * then have memory all the time, and so have the other inputs.
 */
export function scheduleProgram(program: Program, state = 0): Schedule {
  return new Simulation(program).run(state);
}
