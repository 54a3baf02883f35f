/**
 * Stage 8, reward: what one accepted execution earns.
 */

/**
 * Wei for one execution whose result was accepted: the budget over all executions of the job, rounded down. The rest goes back
 * to the organizer at the end. Twin of `Rewards.sol`.
 */
export function executionReward(budgetWei: bigint, rounds: number, tasks: number, redundancy: number): bigint {
  return budgetWei / (BigInt(rounds) * BigInt(tasks) * BigInt(redundancy));
}
