/**
 * A group of element-wise operations over one iteration shape, run block by block as one kernel call.
 *
 * Intermediates live in block registers; operands that are dense are read in place, others are loaded by their strides, and
 * single elements are spread over a register once.
 */
import type { DType } from '../program.ts';
import { opcodes } from './generated/kernels.ts';
import { addressOf, type Emission, type Instruction } from './instruction.ts';
import { propagatesNaN } from './opcode.ts';
import { type Buffer, coalesce, elementBytes, isDense, isSingle, sizeOf, type View } from './view.ts';

/** Elements of one block: a register is 2 KiB, so a dozen of them stay in the first cache. */
export const blockElements = 512;
/** Registers a group may use at once; `layout.ts` reserves their memory. */
export const registerCount = 192;
/** Nodes after which a group takes no more. */
export const maxGroupNodes = 48;
export const registerBytes = blockElements * 4;

/** One element-wise operation inside a group. */
export interface Node {
  readonly opcode: number;
  readonly operation: number;
  readonly dtype: DType;
  readonly operands: readonly (Node | View)[];
  /** Where the result is kept when something outside the group needs it. */
  out: View | null;
}

export interface Group {
  readonly shape: readonly number[];
  readonly nodes: Node[];
}

export function isNode(operand: Node | View): operand is Node {
  return 'opcode' in operand;
}

interface Place {
  readonly address: number;
  readonly step: number;
}

const nowhere: Place = { address: 0, step: 0 };

class RegisterFile {
  readonly #base: number;
  readonly #free: number[] = [];
  #used = 0;

  constructor(base: number) {
    this.#base = base;
  }

  take(): number {
    return this.#free.pop() ?? this.#base + this.#used++ * registerBytes;
  }

  release(address: number): void {
    this.#free.push(address);
  }
}

/** Index of the last node that reads each node or view. */
function lastReaders(nodes: readonly Node[]): Map<Node | string, number> {
  const last = new Map<Node | string, number>();
  nodes.forEach((node, index) => {
    for (const operand of node.operands) last.set(isNode(operand) ? operand : viewKey(operand), index);
  });
  return last;
}

const bufferNumbers = new WeakMap<Buffer, number>();
let nextBufferNumber = 0;

/** Equal for views of the same elements in the same order. */
function viewKey(view: View): string {
  let number = bufferNumbers.get(view.buffer);
  if (number === undefined) {
    number = nextBufferNumber++;
    bufferNumbers.set(view.buffer, number);
  }
  return `${number}:${view.offset}:${elementBytes(view.dtype)}:${view.strides.join(',')}`;
}

/** A result must be looked at when it leaves the group or a reader could hide its NaN. */
function mustCheck(node: Node, nodes: readonly Node[]): boolean {
  if (node.dtype !== 'float32') return false;
  if (node.out !== null) return true;
  const readers = nodes.filter((other) => other.operands.includes(node));
  return readers.length === 0 || readers.some((reader) => !propagatesNaN(reader.opcode));
}

function emitGroup(group: Group, registers: number, { kernels, table }: Emission): () => number {
  const { nodes, shape } = group;
  const total = sizeOf(shape);
  const file = new RegisterFile(registers);
  const last = lastReaders(nodes);
  const setup: number[] = [];
  const body: number[] = [];
  const places = new Map<Node | string, Place>();
  let operations = 0;
  let setups = 0;

  const placeView = (view: View): Place => {
    const key = viewKey(view);
    const known = places.get(key);
    if (known !== undefined) return known;
    const bytes = elementBytes(view.dtype);
    let place: Place;
    if (isSingle(view)) {
      // Setup runs once for all blocks, so its register is never given back.
      place = { address: file.take(), step: 0 };
      setup.push(bytes === 4 ? opcodes.SPLAT4 : opcodes.SPLAT1, 0, place.address, 0, addressOf(view), 0, 0, 0, 0, 0);
      setups++;
    } else if (isDense(view)) {
      place = { address: addressOf(view), step: bytes };
    } else {
      place = { address: file.take(), step: 0 };
      const axes = coalesce({ shape: view.shape, strides: [view.strides] });
      const descriptor = table([addressOf(view), axes.shape.length, ...axes.shape, ...(axes.strides[0] ?? [])]);
      body.push(bytes === 4 ? opcodes.LOAD4 : opcodes.LOAD1, 0, place.address, 0, descriptor, 0, 0, 0, 0, 0);
      operations++;
    }
    places.set(key, place);
    return place;
  };

  // Setup registers first: a register freed by the body must not be taken for one of them.
  for (const node of nodes) for (const operand of node.operands) if (!isNode(operand) && isSingle(operand)) placeView(operand);
  nodes.forEach((node, index) => {
    const operands = node.operands.map((operand) => (isNode(operand) ? (places.get(operand) ?? nowhere) : placeView(operand)));
    const [a = nowhere, b = nowhere, c = nowhere] = operands;
    const out: Place =
      node.out === null ? { address: file.take(), step: 0 } : { address: addressOf(node.out), step: elementBytes(node.dtype) };
    places.set(node, out);
    body.push(node.opcode, mustCheck(node, nodes) ? 1 : 0, out.address, out.step, a.address, a.step, b.address, b.step, c.address, c.step);
    operations++;
    for (const operand of new Set(node.operands)) {
      const key = isNode(operand) ? operand : viewKey(operand);
      const place = places.get(key);
      const isScratch = isNode(operand) ? operand.out === null : !isSingle(operand) && !isDense(operand);
      if (isScratch && last.get(key) === index && place !== undefined) {
        file.release(place.address);
        last.delete(key);
      }
    }
    if (node.out === null && !last.has(node)) file.release(out.address);
  });
  // A short tensor has a short block, so that setup does not spread over more than is read.
  const block = Math.min(blockElements, Math.max(Math.ceil(total / 16) * 16, 16));
  const descriptor = table([total, block, setups, operations, ...setup, ...body]);
  return () => kernels.elementwise(descriptor);
}

/** The kernel call for `group`. `registers` is the buffer of the block registers. */
export function groupInstruction(group: Group, registers: Buffer): Instruction {
  const reads = group.nodes.flatMap((node) => node.operands.flatMap((operand) => (isNode(operand) ? [] : [operand.buffer])));
  const writes = group.nodes.flatMap((node) => (node.out === null ? [] : [node.out.buffer]));
  return {
    operation: group.nodes.reduce((least, node) => Math.min(least, node.operation), Infinity),
    reads: [...new Set(reads), registers],
    writes,
    emit: (emission) => emitGroup(group, registers.address, emission),
  };
}
