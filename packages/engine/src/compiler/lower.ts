/**
 * From program order to kernel calls: movement primitives become views, element-wise ones are gathered into groups, sums of
 * products become matrix products.
 *
 * An element-wise result stays pending until something other than an element-wise operation over the same shape needs it.
 * Without fusion (`fuse: false`) every operation is its own kernel call in program order, so that the first call to report a
 * NaN names the faulty operation.
 */
import { MusterError } from '@muster/protocol';
import { valueTypes } from '../check.ts';
import type { Operation, Program, TensorType } from '../program.ts';
import { sameShape } from '../shapes.ts';
import { type Group, groupInstruction, maxGroupNodes, type Node } from './group.ts';
import type { Instruction } from './instruction.ts';
import { copyInstruction } from './movement.ts';
import { opcodeOf } from './opcode.ts';
import { lowerPrimitive, type Planner } from './primitives.ts';
import * as views from './view.ts';
import type { Buffer, View } from './view.ts';

/** A planned program: kernel calls in order, and where inputs, constants and outputs lie. All these views are dense. */
export interface Plan {
  readonly instructions: readonly Instruction[];
  readonly inputs: readonly View[];
  readonly constants: readonly View[];
  readonly outputs: readonly View[];
  readonly buffers: readonly Buffer[];
}

interface Value {
  readonly type: TensorType;
  view: View | null;
  node: Node | null;
  group: Group | null;
  /** Operations and program outputs that have yet to read the value. */
  uses: number;
}

class Lowering {
  readonly #program: Program;
  readonly #fuse: boolean;
  readonly #values: Value[];
  readonly #buffers: Buffer[] = [];
  readonly #instructions: Instruction[] = [];
  readonly #groups = new Set<Group>();
  readonly #owners = new Map<Node, Value>();
  readonly #planner: Planner = {
    dense: (type) => this.#dense(type),
    densify: (view, operation) => this.#densify(view, operation),
    buffer: (bytes) => this.#buffer(bytes),
    push: (...instructions) => this.#push(...instructions),
  };

  constructor(program: Program, fuse: boolean) {
    this.#program = program;
    this.#fuse = fuse;
    this.#values = valueTypes(program).map((type) => ({ type, view: null, node: null, group: null, uses: 0 }));
    for (const operation of program.operations) for (const input of operation.inputs) this.#value(input).uses++;
    for (const output of program.outputs) this.#value(output.value).uses++;
  }

  lower(): Plan {
    const program = this.#program;
    const given = [...program.inputs, ...program.constants].map((type, index) => {
      const view = this.#dense(type);
      this.#value(index).view = view;
      return view;
    });
    let next = given.length;
    program.operations.forEach((operation, index) => {
      const results = operation.outputs.map((_, n) => this.#value(next + n));
      next += results.length;
      this.#lowerOperation(operation, index, results);
    });
    const outputs = program.outputs.map(({ value }) => this.#denseView(this.#value(value), program.operations.length));
    // What no output needs can still fault, so it runs as well.
    for (const group of this.#groups) this.#flush(group);
    return {
      instructions: this.#instructions,
      inputs: given.slice(0, program.inputs.length),
      constants: given.slice(program.inputs.length),
      outputs,
      buffers: this.#buffers,
    };
  }

  #value(index: number): Value {
    return this.#values[index] as Value;
  }

  #buffer(bytes: number): Buffer {
    const buffer: Buffer = { bytes, firstUse: Infinity, lastUse: -1, address: 0 };
    this.#buffers.push(buffer);
    return buffer;
  }

  #dense(type: TensorType): View {
    const bytes = views.sizeOf(type.shape) * views.elementBytes(type.dtype);
    return { dtype: type.dtype, shape: type.shape, strides: views.denseStrides(type.shape), offset: 0, buffer: this.#buffer(bytes) };
  }

  #push(...instructions: readonly Instruction[]): void {
    this.#instructions.push(...instructions);
  }

  /** The value in memory; a pending one is computed now. */
  #view(value: Value): View {
    if (value.view === null && value.group !== null) this.#flush(value.group);
    if (value.view === null) throw new MusterError('INTERNAL', 'a value is read before it is planned');
    return value.view;
  }

  #densify(view: View, operation: number): View {
    if (views.isDense(view)) return view;
    const copy = this.#dense(view);
    this.#push(copyInstruction(copy, view, operation));
    return copy;
  }

  #denseView(value: Value, operation: number): View {
    return this.#densify(this.#view(value), operation);
  }

  /** Plans the kernel call of a group; results that are still to be read get memory. */
  #flush(group: Group): void {
    this.#groups.delete(group);
    for (const node of group.nodes) {
      const value = this.#owners.get(node) as Value;
      if (value.uses > 0) {
        node.out = this.#dense(value.type);
        value.view = node.out;
      }
      value.node = null;
      value.group = null;
    }
    if (views.sizeOf(group.shape) > 0) this.#push(groupInstruction(group));
  }

  #lowerElementwise(opcode: number, operation: Operation, index: number, result: Value): void {
    const { shape } = result.type;
    const inputs = operation.inputs.map((input) => this.#value(input));
    const joins = (value: Value): boolean => value.group !== null && sameShape(value.type.shape, shape);
    for (const value of inputs) if (!joins(value)) this.#view(value);
    let groups = [...new Set(inputs.flatMap((value) => (value.group === null ? [] : [value.group])))];
    if (groups.reduce((sum, group) => sum + group.nodes.length, 1) > maxGroupNodes) {
      for (const group of groups) this.#flush(group);
      groups = [];
    }
    const [first, ...others] = groups;
    const group: Group = first ?? { shape, nodes: [] };
    this.#groups.add(group);
    for (const other of others) {
      this.#groups.delete(other);
      for (const node of other.nodes) {
        group.nodes.push(node);
        (this.#owners.get(node) as Value).group = group;
      }
    }
    const operands = inputs.map((value) => value.node ?? views.broadcastTo(this.#view(value), shape));
    const node: Node = { opcode, operation: index, dtype: result.type.dtype, operands, out: null };
    group.nodes.push(node);
    this.#owners.set(node, result);
    result.node = node;
    result.group = group;
    for (const value of inputs) value.uses--;
    if (!this.#fuse) this.#flush(group);
  }

  #lowerOperation(operation: Operation, index: number, results: readonly Value[]): void {
    const [result] = results as readonly [Value, ...Value[]];
    const first = operation.inputs[0] === undefined ? null : this.#value(operation.inputs[0]);
    const opcode = first === null ? null : opcodeOf(operation, first.type.dtype, result.type.dtype);
    if (opcode !== null) return this.#lowerElementwise(opcode, operation, index, result);
    const inputs = operation.inputs.map((input) => this.#view(this.#value(input)));
    for (const input of operation.inputs) this.#value(input).uses--;
    const types = results.map(({ type }) => type);
    const made = lowerPrimitive(operation.primitive, operation.params, { inputs, types, operation: index, planner: this.#planner });
    results.forEach((value, n) => {
      value.view = made[n] as View;
    });
  }
}

/** Plans `program`, which has been checked. `fuse: false` keeps program order for tracing a fault. */
export function lowerProgram(program: Program, fuse: boolean): Plan {
  return new Lowering(program, fuse).lower();
}
