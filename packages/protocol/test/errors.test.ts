import { describe, expect, it } from 'vitest';
import { errorCatalogue, MusterError, toMusterError } from '@muster/protocol';

describe('error catalogue', () => {
  it('says for every code what happened and what to do, with an HTTP status that is an error', () => {
    for (const [code, entry] of Object.entries(errorCatalogue)) {
      expect(code).toMatch(/^[A-Z]+(?:_[A-Z]+)*$/);
      expect(entry.what, code).toMatch(/^.{10,}\.$/);
      expect(entry.do, code).toMatch(/^.{6,}\.$/);
      expect(entry.status, code).toBeGreaterThanOrEqual(400);
      expect(entry.status, code).toBeLessThan(600);
    }
  });
});

describe('MusterError', () => {
  it('carries code, details and cause', () => {
    const cause = new Error('below');
    const error = new MusterError('FIELD_INVALID', 'job.rounds: expected more', { field: 'job.rounds' }, { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'MusterError', code: 'FIELD_INVALID', details: { field: 'job.rounds' }, cause });
  });

  it('is kept as it is, and made of anything else as INTERNAL with the cause', () => {
    const own = new MusterError('USAGE', 'wrong');
    expect(toMusterError(own)).toBe(own);
    const foreign = new TypeError('boom');
    expect(toMusterError(foreign)).toMatchObject({ code: 'INTERNAL', message: 'boom', cause: foreign });
    expect(toMusterError('text')).toMatchObject({ code: 'INTERNAL', message: 'text' });
    expect(toMusterError(null).code).toBe('INTERNAL');
  });
});
