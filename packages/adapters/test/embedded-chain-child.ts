/** A process that serves the chain in the file named by its first argument until it is killed. Prints its address as one line. */
import { serveChain } from '../src/evm/embedded/index.ts';
import { openTestChain } from './embedded-chain-helpers.ts';

const chain = await openTestChain({ path: process.argv[2]!, followMs: 20 });
const server = await serveChain(chain, { host: '127.0.0.1', port: 0 });
process.stdout.write(`${server.url}\n`);
