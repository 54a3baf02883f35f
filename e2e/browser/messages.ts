/** What the page asks its worker, and what the worker answers. */
import type { ConformanceReport, TrainingCase, TrainingReport } from './checks.ts';

export type Request = {
  /** Threads that run every program; 1 for the plain executor. */
  readonly threads: number;
} & ({ readonly kind: 'conformance'; readonly files: readonly string[] } | { readonly kind: 'training'; readonly given: TrainingCase });

export type Response =
  | { readonly kind: 'conformance'; readonly isolated: boolean; readonly report: ConformanceReport }
  | { readonly kind: 'training'; readonly report: TrainingReport }
  | { readonly kind: 'failed'; readonly reason: string };
