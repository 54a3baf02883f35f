/** The id that a TRAIN_REQUEST would get, asked of the contract before it is sent. */
import type { ChainInfo } from '@muster/ports';
import type { Address, JobId, TrainingRequest } from '@muster/protocol';
import { trainRequestAbi } from '../generated/index.ts';
import { ask, type ChainEndpoint, type ConnectionOptions, openConnection } from './connection.ts';

/** The job id of `owner`'s next request if that is `request` and the account opens no other job before. Throws CHAIN_UNREACHABLE. */
export async function predictRequestedJob(
  endpoint: ChainEndpoint & ConnectionOptions,
  { contracts }: ChainInfo,
  owner: Address,
  request: TrainingRequest,
): Promise<JobId> {
  const { client } = openConnection(endpoint);
  const { baseModel, dataset, totalRounds, minParticipants, hyperParameters } = request;
  const args = [owner, baseModel, dataset, totalRounds, minParticipants, hyperParameters] as const;
  const contract = { address: contracts.trainRequest, abi: trainRequestAbi } as const;
  return (await ask('predicting the job', () => client.readContract({ ...contract, functionName: 'predictJobId', args }))) as JobId;
}
