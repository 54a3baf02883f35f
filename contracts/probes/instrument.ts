/**
 * Puts probes into Solidity sources: one before every statement, two at every condition, also inside inline assembly. Works on the syntax
 * tree that solc gives, so it knows no grammar of its own; lines stay where they were.
 *
 * A probe is a `staticcall` to the address at which Hardhat's EDR collects coverage. It leaves memory and results as they were and costs
 * a few hundred gas, so instrumented code is for coverage only, never for gas figures.
 */
import type { Place } from './places.ts';

/** A node of solc's syntax tree; `src` is `start:length:file` in bytes. */
export interface SyntaxNode {
  readonly nodeType: string;
  readonly src: string;
  readonly [key: string]: unknown;
}

/** Name under which `probeLibrary` is given to the compiler. */
export const probeFile = 'muster-coverage-probe.sol';

/** Where EDR listens. */
const listener = '0xc0bEc0BEc0BeC0bEC0beC0bEC0bEC0beC0beC0BE';
/** Yul that reports `id`; the scratch word is put back. */
const yulProbe = `let kept := mload(0) mstore(0, id) pop(staticcall(gas(), ${listener}, 0, 32, 0, 0)) mstore(0, kept)`;
const yulHelpers =
  ` function __hit(id) { ${yulProbe} } function __condition(id, value) -> same` +
  ` { same := value switch value case 0 { __hit(add(id, 1)) } default { __hit(id) } } `;

/** Solidity of the probes. */
export const probeLibrary = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;
library __Probe {
  function hit(uint256 id) internal view { assembly ("memory-safe") { ${yulProbe} } }
  function condition(uint256 id, bool value) internal view returns (bool) { hit(value ? id : id + 1); return value; }
}
`;

/**
 * The source with probes, and what they stand for. Probe numbers count up from `firstId` without gaps. The syntax tree must be solc's of
 * exactly this text.
 */
export function instrument(
  file: string,
  text: string,
  tree: SyntaxNode,
  firstId: number,
): { readonly text: string; readonly places: readonly Place[] } {
  const writer = new Instrumenter(file, Buffer.from(text), firstId);
  writer.visit(tree);
  const imported = writer.places.length === 0 ? '' : `\nimport {__Probe} from "${probeFile}";\n`;
  return { text: writer.finish() + imported, places: writer.places };
}

class Instrumenter {
  readonly places: Place[] = [];
  private readonly file: string;
  private readonly bytes: Buffer;
  private nextId: number;
  /** In the order of the walk, which is right for those at one offset: prefixes from outside in, suffixes from inside out. */
  private readonly edits: { readonly at: number; readonly text: string; readonly drop?: number }[] = [];

  constructor(file: string, bytes: Buffer, firstId: number) {
    this.file = file;
    this.bytes = bytes;
    this.nextId = firstId;
  }

  finish(): string {
    const parts: Buffer[] = [];
    let from = 0;
    // Sorting is stable, so the order of the walk is kept within an offset.
    for (const { at, text, drop = 0 } of this.edits.sort((a, b) => a.at - b.at)) {
      parts.push(this.bytes.subarray(from, at), Buffer.from(text));
      from = at + drop;
    }
    parts.push(this.bytes.subarray(from));
    return Buffer.concat(parts).toString('utf8');
  }

  visit(node: SyntaxNode): void {
    switch (node.nodeType) {
      case 'FunctionTypeName':
        this.madeView(startOf(node), endOf(node));
        return;
      case 'FunctionDefinition':
      case 'ModifierDefinition': {
        const parameters = child(node, 'parameters');
        const body = child(node, 'body');
        if (parameters) this.madeView(endOf(parameters), body === null ? endOf(node) : startOf(body));
        for (const types of [parameters, child(node, 'returnParameters')]) if (types) this.visit(types);
        if (body === null) return;
        if (children(body).length === 0) this.insert(startOf(body) + 1, ` __Probe.hit(${this.add('statement', node, 'never called')}); `);
        this.visit(body);
        return;
      }
      case 'Block':
      case 'UncheckedBlock':
        for (const statement of children(node)) this.statement(statement);
        return;
      case 'IfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
      case 'ForStatement': {
        const [initial, condition, step] = ['initializationExpression', 'condition', 'loopExpression'].map((key) => child(node, key));
        if (initial) this.visit(initial);
        if (condition) this.condition(condition, '__Probe.condition');
        if (step) this.visit(step);
        for (const key of ['trueBody', 'falseBody', 'body']) {
          const body = child(node, key);
          if (body !== null) this.body(body);
        }
        return;
      }
      case 'Conditional': {
        const [condition, ...arms] = ['condition', 'trueExpression', 'falseExpression'].map((key) => child(node, key));
        if (condition) this.condition(condition, '__Probe.condition');
        for (const arm of arms) if (arm) this.visit(arm);
        return;
      }
      case 'BinaryOperation':
        if (node['operator'] === '&&' || node['operator'] === '||') this.condition(node, '__Probe.condition');
        else for (const operand of children(node)) this.visit(operand);
        return;
      case 'FunctionCall': {
        const [callee, first, ...others] = children(node);
        if (callee && ['require', 'assert'].includes(String(callee['name'])) && first) {
          this.condition(first, '__Probe.condition');
          for (const other of others) this.visit(other);
        } else for (const part of children(node)) this.visit(part);
        return;
      }
      case 'TryCatchClause': {
        const block = child(node, 'block');
        if (block === null) return;
        this.insert(startOf(block) + 1, ` __Probe.hit(${this.add('branch', node, 'this arm never runs')}); `);
        this.visit(block);
        return;
      }
      case 'InlineAssembly': {
        const block = child(node, 'AST');
        if (block === null) return;
        this.insert(startOf(block) + 1, yulHelpers);
        this.assembly(block);
        return;
      }
      default:
        for (const part of children(node)) this.visit(part);
    }
  }

  /** A function that may run probes is no longer pure in the compiler's eyes; what it does stays the same. */
  private madeView(from: number, to: number): void {
    const at = this.bytes
      .subarray(from, Math.max(from, to))
      .toString('latin1')
      .search(/\bpure\b/);
    if (at >= 0) this.edits.push({ at: from + at, text: 'view', drop: 4 });
  }

  /** Yul has statements and conditions of its own kinds. */
  private assembly(node: SyntaxNode): void {
    switch (node.nodeType) {
      case 'YulBlock':
        for (const statement of children(node)) {
          if (statement.nodeType !== 'YulFunctionDefinition' && statement.nodeType !== 'YulBlock') {
            this.insert(startOf(statement), `__hit(${this.add('statement', statement, 'never runs')}) `);
          }
          this.assembly(statement);
        }
        return;
      case 'YulIf':
      case 'YulForLoop': {
        const condition = child(node, 'condition');
        // What a loop does before and after its turns belongs to the loop's own line.
        if (condition) this.condition(condition, '__condition');
        const body = child(node, 'body');
        if (body) this.assembly(body);
        return;
      }
      case 'YulCase': {
        const body = child(node, 'body');
        if (body === null) return;
        this.insert(startOf(body) + 1, ` __hit(${this.add('branch', node, 'this case never runs')}) `);
        this.assembly(body);
        return;
      }
      default:
        for (const part of children(node)) this.assembly(part);
    }
  }

  private statement(node: SyntaxNode): void {
    if (node.nodeType !== 'Block' && node.nodeType !== 'UncheckedBlock') {
      this.insert(startOf(node), `__Probe.hit(${this.add('statement', node, 'never runs')}); `);
    }
    this.visit(node);
  }

  /** The statement after `if (…)`, which need not have braces. */
  private body(node: SyntaxNode): void {
    if (node.nodeType === 'Block') return this.visit(node);
    this.insert(startOf(node), '{ ');
    this.statement(node);
    this.insert(this.endOfStatement(node), ' }');
  }

  /** Probes at every atomic condition of `node`. */
  private condition(node: SyntaxNode, probe: string): void {
    const left = child(node, 'leftExpression');
    const right = child(node, 'rightExpression');
    const inner = node.nodeType === 'TupleExpression' || node['operator'] === '!' ? children(node)[0] : undefined;
    if (left && right && (node['operator'] === '&&' || node['operator'] === '||')) {
      this.condition(left, probe);
      this.condition(right, probe);
    } else if (inner) {
      this.condition(inner, probe);
    } else if (node.nodeType === 'Literal' || node.nodeType === 'YulLiteral') {
      // `while (true)` has one outcome.
    } else {
      const short = this.bytes.subarray(startOf(node), endOf(node)).toString('utf8').replaceAll(/\s+/g, ' ');
      const id = this.add('branch', node, `${short} is never true`);
      this.add('branch', node, `${short} is never false`);
      this.insert(startOf(node), `${probe}(${id}, `);
      if (probe === '__condition') this.assembly(node);
      else this.visit(node);
      this.insert(endOf(node), ')');
    }
  }

  /** Behind the semicolon, which solc does not count among a statement's text. */
  private endOfStatement(node: SyntaxNode): number {
    const last = child(node, 'falseBody') ?? child(node, 'trueBody') ?? (node.nodeType === 'DoWhileStatement' ? null : child(node, 'body'));
    if (last !== null) return this.endOfStatement(last);
    const end = endOf(node);
    if (['}', ';'].includes(String.fromCharCode(this.bytes[end - 1] ?? 0)) && node.nodeType !== 'ExpressionStatement') return end;
    return this.bytes.indexOf(';', end) + 1;
  }

  private add(kind: Place['kind'], node: SyntaxNode, what: string): number {
    const before = this.bytes.subarray(0, startOf(node));
    this.places.push({ id: this.nextId, kind, file: this.file, line: before.toString('latin1').split('\n').length, what });
    return this.nextId++;
  }

  private insert(at: number, text: string): void {
    this.edits.push({ at, text });
  }
}

function startOf(node: SyntaxNode): number {
  return Number(node.src.split(':')[0]);
}

function endOf(node: SyntaxNode): number {
  return startOf(node) + Number(node.src.split(':')[1]);
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as Partial<SyntaxNode>).nodeType === 'string';
}

function child(node: SyntaxNode, key: string): SyntaxNode | null {
  const value = node[key];
  return isNode(value) ? value : null;
}

/** All nodes directly below, in the order of the text. */
function children(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (const value of Object.values(node)) {
    for (const part of Array.isArray(value) ? value : [value]) if (isNode(part)) found.push(part);
  }
  return found.sort((a, b) => startOf(a) - startOf(b));
}
