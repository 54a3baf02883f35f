/**
 * `GET /ipfs/{cid}`: the trustless gateway (specs.ipfs.tech/http-gateways/trustless-gateway) over a blob store.
 *
 * Answers single blocks and CARs that the reader verifies; never deserialised content, never paths below a content id.
 */
import type { BlobStore } from '@muster/ports';
import { codecOf, MusterError, parseCid } from '@muster/protocol';
import { type CarLimits, carOf, type CarScope } from './car.ts';
import { errorResponse } from './json.ts';

const rawType = 'application/vnd.ipld.raw';
const carType = 'application/vnd.ipld.car';
/** A CIDv1 of the empty identity hash, which the specification lets clients use as a probe. */
const probeCid = 'bafkqaaa';

type Format = { readonly format: 'raw' } | { readonly format: 'car'; readonly scope: CarScope };

/**
 * The answer to a GET of `/ipfs/{cidText}`; for HEAD drop its body. `breakOff` closes the connection when a CAR that has begun cannot
 * be completed: its status is sent already, so that nothing else tells the reader. Throws CID_INVALID, FIELD_INVALID, FORMAT_UNSUPPORTED, OBJECT_MISSING, STORE_DAMAGED.
 */
export async function answerGateway(
  request: Request,
  cidText: string,
  store: BlobStore,
  limits: CarLimits,
  breakOff: (error: unknown) => void,
): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const chosen = chooseFormat(query, request.headers.get('accept'));
  if (chosen instanceof MusterError) return errorResponse(chosen);
  if (cidText === probeCid && chosen.format === 'raw') return rawResponse(cidText, new Uint8Array(0));
  const cid = parseCid(cidText);
  const tag = chosen.format === 'raw' ? `"${cid}.raw"` : `W/"${cid}.car.${chosen.scope}"`;
  const known = request.headers.get('if-none-match');
  const bytes = await store.get(cid);
  if (bytes === null) throw new MusterError('OBJECT_MISSING', `no object ${cid} here`, { cid });
  if (known !== null && known.split(',').some((item) => bare(item) === bare(tag))) {
    return new Response(null, { status: 304, headers: { etag: tag, 'cache-control': immutable } });
  }
  if (chosen.format === 'raw') return rawResponse(cid, bytes);
  const sections = carOf(store, cid, bytes, codecOf(cid) === 'raw' ? 'block' : chosen.scope, limits);
  return new Response(streamOf(sections, breakOff), {
    headers: {
      ...headersFor(cid, tag, 'car'),
      'content-type': `${carType}; version=1; order=dfs; dups=n`,
      'x-ipfs-roots': cid,
    },
  });
}

const immutable = 'public, max-age=29030400, immutable';

function headersFor(cid: string, tag: string, ending: string): Record<string, string> {
  return {
    etag: tag,
    'cache-control': immutable,
    'content-disposition': `attachment; filename="${cid}.${ending}"`,
    'x-content-type-options': 'nosniff',
    'x-ipfs-path': `/ipfs/${cid}`,
    'accept-ranges': 'none',
    vary: 'accept',
  };
}

function rawResponse(cid: string, bytes: Uint8Array): Response {
  const headers = { ...headersFor(cid, `"${cid}.raw"`, 'bin'), 'content-type': rawType, 'content-length': String(bytes.length) };
  return new Response(new Uint8Array(bytes), { headers });
}

/** The `format` parameter wins over the Accept header; without either, or with a wildcard, a raw block. */
function chooseFormat(query: URLSearchParams, accept: string | null): Format | MusterError {
  const format = query.get('format');
  if (format === 'raw') return { format };
  if (format === 'car') return carFormat(query, query.get('car-version') ?? '1');
  if (format !== null)
    return new MusterError('FORMAT_UNSUPPORTED', `format: expected raw or car, got "${format.slice(0, 40)}"`, { field: 'format' });
  for (const range of (accept ?? '*/*').toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (type === rawType || type === '*/*' || type === 'application/*') return { format: 'raw' };
    if (type === carType) {
      const version = parameters.find((parameter) => parameter.startsWith('version='))?.slice('version='.length);
      return carFormat(query, version ?? query.get('car-version') ?? '1');
    }
  }
  return new MusterError('FORMAT_UNSUPPORTED', `accept: only ${rawType} and ${carType} are served`, { field: 'accept' });
}

function carFormat(query: URLSearchParams, version: string): Format {
  if (version !== '1') throw new MusterError('FIELD_INVALID', 'car-version: only 1 is served', { field: 'car-version' });
  const scope = query.get('dag-scope') ?? 'all';
  // Without UnixFS an entity is its one block.
  if (scope === 'block' || scope === 'entity') return { format: 'car', scope: 'block' };
  if (scope === 'all') return { format: 'car', scope };
  throw new MusterError('FIELD_INVALID', `dag-scope: expected block, entity or all, got "${scope.slice(0, 40)}"`, { field: 'dag-scope' });
}

function bare(tag: string): string {
  return tag.trim().replace(/^W\//, '');
}

/** A response body that pulls from `parts`, and stops them when the reader goes away. */
function streamOf(parts: AsyncGenerator<Uint8Array>, breakOff: (error: unknown) => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await parts.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        breakOff(error);
      }
    },
    async cancel() {
      await parts.return(undefined);
    },
  });
}
