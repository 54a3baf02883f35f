/**
 * `muster`: the one program. Parses the command line, runs a command, turns errors into messages and exit codes.
 */
import { join } from 'node:path';
import { executorFromEnvironment } from '@muster/adapters';
import { parseAddress, toMusterError } from '@muster/protocol';
import { Command, CommanderError } from 'commander';
import { auditCommand } from './commands/audit.ts';
import { addChain } from './commands/chain.ts';
import { addConsent } from './commands/consent.ts';
import { contextOf, jobArgument } from './commands/context.ts';
import { dataImport, type DataImportFlags, dataShow } from './commands/data.ts';
import { demoCommand, type DemoFlags } from './commands/demo.ts';
import {
  modelBuild,
  type ModelBuildFlags,
  modelExport,
  type ModelExportFlags,
  modelGenerate,
  type ModelGenerateFlags,
  modelImport,
  type ModelImportFlags,
  modelShow,
} from './commands/model.ts';
import { jobControl, jobList, jobShow, jobSubmit } from './commands/jobs.ts';
import { addDid } from './commands/did.ts';
import { jobFail, jobRelease, jobSettle } from './commands/endings.ts';
import { addNode } from './commands/nodes.ts';
import { jobRequest } from './commands/request.ts';
import { addDoctor } from './commands/doctor.ts';
import { addPlan } from './commands/plan.ts';
import { joinCommand, type JoinFlags, portOf, upCommand, type UpFlags } from './commands/up.ts';
import { addExecutorOptions } from './executor.ts';
import { coordinatorUrl, requireNetwork } from './home.ts';
import { describeError, jsonLine } from './output.ts';
import { runChainProcess } from './processes/chain.ts';
import { runCoordinatorProcess } from './processes/coordinator.ts';
import { runNodeProcess } from './processes/node.ts';
import { reportJson, stopOnSignals, stopWithParent } from './runtime.ts';

const program = new Command('muster')
  .description('Trains one model on many machines nobody has to trust, and leaves a record anyone can check.')
  .version('0.1.0')
  .option('--home <folder>', 'where this network or node keeps its state (default: $MUSTER_HOME or ~/.muster)')
  .option('--json', 'print one JSON object per line, with an "event" field')
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('(see --help)');

addExecutorOptions(program.command('demo'), '1')
  .description('a whole network on this machine: trains, slashes a liar, replaces a killed trainer, audits')
  .option('--data <path>', 'training data (IDX, CSV, images, text); without it digits are drawn')
  .option('--model <family>', 'mlp, cnn or softmax', 'mlp')
  .option('--trainers <n>', 'trainer processes', '8')
  .option('--rounds <n>', 'rounds', '10')
  .option('--tasks <n>', 'tasks per round', '8')
  .option('--redundancy <n>', 'trainers per task', '3')
  .option('--steps <n>', 'optimizer steps per task (default 32)')
  .option('--split <kind>', 'equal, dirichlet, label or class', 'equal')
  .option('--cheat <n>', 'trainers that lie', '1')
  .option('--drop <n>', 'trainers that are killed', '1')
  .option('--seed <n>', 'seed of the job', '1')
  .action(async (flags: DemoFlags, command: Command) => finish(await demoCommand(contextOf(command), flags)));

addExecutorOptions(program.command('up'), '1')
  .description('coordinator, store, chain and validator')
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--port <n>', 'coordinator port; 0 takes a free one', '7700')
  .option('--chain-port <n>', 'chain port; 0 takes a free one', '7701')
  .action(async (flags: UpFlags, command: Command) => await upCommand(contextOf(command), flags));

addExecutorOptions(program.command('join <url>'), 'all cores')
  .description('this machine becomes a trainer of the network at <url>')
  .option('--dishonest', 'submit wrong results, to see what happens to liars')
  .option('--relay', 'the coordinator pays gas and stake: for an account without ether')
  .action(async (url: string, flags: JoinFlags, command: Command) => await joinCommand(contextOf(command), url, flags));

const job = program.command('job').description('submit and control jobs');
job
  .command('submit <file>')
  .description('submit the job in a JSON file, with its budget in escrow')
  .action(async (file: string, _: object, command: Command) => await jobSubmit(contextOf(command), file));
job
  .command('request <file>')
  .description('TRAIN_REQUEST: ask for the training in a JSON file; the network’s coordinator writes the specification')
  .action(async (file: string, _: object, command: Command) => await jobRequest(contextOf(command), file));
job
  .command('list')
  .description('jobs of this network')
  .action(async (_: object, command: Command) => await jobList(contextOf(command)));
job
  .command('show <job>')
  .description('one job, round by round')
  .action(async (id: string, _: object, command: Command) => await jobShow(contextOf(command), jobArgument(id)));
for (const [action, what] of [
  ['pause', 'no new work until it is resumed'],
  ['resume', 'go on'],
  ['stop', 'end the job now and refund what is not spent'],
] as const) {
  job
    .command(`${action} <job>`)
    .description(what)
    .action(async (id: string, _: object, command: Command) => await jobControl(contextOf(command), jobArgument(id), action));
}
for (const [name, act, what] of [
  ['fail', jobFail, 'end a job that made no progress for its round timeout; anybody may'],
  ['settle', jobSettle, 'pay finished work of a job that ended early, from its reserve; anybody may'],
  ['release', jobRelease, 'give the owner of an ended job what of its reserve was not used; anybody may'],
] as const) {
  job
    .command(`${name} <job>`)
    .description(what)
    .action(async (id: string, _: object, command: Command) => await act(contextOf(command), jobArgument(id)));
}

const data = program.command('data').description('datasets');
data
  .command('import <path>')
  .description('a file or folder becomes a dataset with a content id')
  .option('--format <kind>', 'idx, csv, images or text (default: by the path)')
  .option('--name <text>', 'name of the dataset')
  .option('--label <column>', 'CSV: label column by name or index (default: the last)')
  .option('--test <path>', 'file with the held-out records')
  .option('--held-out <share>', 'share of records to hold out, drawn with --seed')
  .option('--seed <n>', 'seed of that draw', '1')
  .option('--tokenizer <kind>', 'text: bytes, chars (the characters of the text) or the path of a tokenizer.json', 'bytes')
  .option('--context <n>', 'text: tokens per record')
  .option('--stride <n>', 'text: tokens between records')
  .action(async (path: string, flags: DataImportFlags, command: Command) => await dataImport(contextOf(command), path, flags));
data
  .command('show <dataset>')
  .description('what a dataset holds')
  .action(async (cid: string, _: object, command: Command) => await dataShow(contextOf(command), cid));

const model = program.command('model').description('models: build, look at, take in and out');
model
  .command('build <file>')
  .description('a JSON description or a jax-js module becomes programs with a content id')
  .option('--out <folder>', 'write the model and its programs here too')
  .action(async (file: string, flags: ModelBuildFlags, command: Command) => await modelBuild(contextOf(command), file, flags));
model
  .command('show <model>')
  .description('parameters and programs of a model, by content id or path')
  .action(async (text: string, _: object, command: Command) => await modelShow(contextOf(command), text));
const weightsArgument = 'a job, or the content id of a checkpoint, a tensor set or a model';
const ofWhichModel = 'model of a tensor set';
model
  .command('export')
  .argument('<weights>', weightsArgument)
  .description('parameters as safetensors, or the model with them as ONNX')
  .requiredOption('--format <kind>', 'safetensors or onnx')
  .requiredOption('--out <file>', 'file to write')
  .option('--model <model>', ofWhichModel)
  .option('--program <role>', 'ONNX: apply or generate', 'apply')
  .option('--seed <seed>', 'of a model: seed of its initial parameters (default: 1)')
  .action(async (what: string, flags: ModelExportFlags, command: Command) => await modelExport(contextOf(command), what, flags));
const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value];
model
  .command('import <file>')
  .description('parameters from a safetensors file become a tensor set with a content id')
  .requiredOption('--model <model>', 'model they are for, by content id or path')
  .option('--map <parameter=tensor>', 'names differ: "block*.kernel=layers.*.weight"; may be repeated', collect, [])
  .option('--transpose <parameter>', 'stored transposed, as by PyTorch’s Linear; a name or pattern, may be repeated', collect, [])
  .option('--ignore-extra', 'pass over tensors that the model has no parameter for')
  .action(async (file: string, flags: ModelImportFlags, command: Command) => await modelImport(contextOf(command), file, flags));
model
  .command('generate')
  .argument('<weights>', weightsArgument)
  .description('text that a model continues a prompt with')
  .option('--prompt <text>', 'text to begin with', '\n')
  .option('--tokens <n>', 'tokens to add', '200')
  .option('--temperature <t>', 'scores are divided by it; 0 takes the likeliest token', '0.8')
  .option('--top-k <n>', 'choose among the n likeliest tokens')
  .option('--seed <n>', 'seed of the choice and, of a model, of its initial parameters (default: 1)')
  .option('--tokenizer <name>', 'bytes, a content id or the path of a tokenizer.json (default: that of the job’s data, else bytes)')
  .option('--model <model>', ofWhichModel)
  .action(async (what: string, flags: ModelGenerateFlags, command: Command) => await modelGenerate(contextOf(command), what, flags));

program
  .command('audit <job>')
  .description('replay a job from store and chain alone; exit code 0 only if everything agrees')
  .action(async (id: string, _: object, command: Command) => finish(await auditCommand(contextOf(command), jobArgument(id))));

addNode(program);
addChain(program, finish);
addPlan(program, finish);
addDoctor(program, finish);
addDid(program, finish);
addConsent(program);

addProcesses(program.command('run', { hidden: true }).description('one process of a network; started by `up` and `demo`'));

/** The processes that `up` and `demo` start. Their reports are JSON lines on stdout. */
function addProcesses(run: Command): void {
  run
    .command('chain')
    .requiredOption('--host <address>')
    .requiredOption('--port <n>')
    .requiredOption('--accounts <list>', 'organizer, coordinator, validator')
    .action(async ({ host, port, accounts }: { host: string; port: string; accounts: string }, command: Command) => {
      const { paths } = contextOf(command);
      const [organizer = '', coordinator = '', validator = ''] = accounts.split(',');
      const parsed = {
        organizer: parseAddress(organizer),
        coordinator: parseAddress(coordinator),
        validator: parseAddress(validator),
      };
      await runChainProcess({ paths, host, port: portOf('--port', port), accounts: parsed });
    });
  run.command('coordinator').action(async (_: object, command: Command) => {
    const { paths } = contextOf(command);
    await runCoordinatorProcess({ paths, network: await requireNetwork(paths) });
  });
  run.command('validator').action(async (_: object, command: Command) => {
    const { paths } = contextOf(command);
    const controller = stopOnSignals();
    stopWithParent(controller);
    await runNodeProcess({
      url: coordinatorUrl(await requireNetwork(paths)),
      home: join(paths.root, 'validator'),
      role: 'validator',
      executor: await executorFromEnvironment(process.env),
      dishonest: false,
      accountKey: paths.key('validator.account'),
      relay: false,
      report: reportJson,
      signal: controller.signal,
    });
  });
  run
    .command('trainer')
    .requiredOption('--url <url>')
    .option('--dishonest')
    .action(async ({ url, dishonest }: { url: string; dishonest?: boolean }, command: Command) => {
      const { paths } = contextOf(command);
      const controller = stopOnSignals();
      stopWithParent(controller);
      await runNodeProcess({
        url,
        home: paths.root,
        role: 'trainer',
        executor: await executorFromEnvironment(process.env),
        dishonest: dishonest === true,
        accountKey: null,
        relay: false,
        report: reportJson,
        signal: controller.signal,
      });
    });
}

function finish(ok: boolean): void {
  if (!ok) process.exitCode = 1;
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const known = toMusterError(error);
    const json = program.opts<{ readonly json?: boolean }>().json === true || process.argv.includes('--json');
    if (json) process.stdout.write(`${jsonLine({ event: 'error', code: known.code, message: known.message, details: known.details })}\n`);
    process.stderr.write(`${describeError(known)}\n`);
    if (known.code === 'INTERNAL' && known.cause instanceof Error && process.env['MUSTER_DEBUG'] !== undefined)
      process.stderr.write(`${known.cause.stack ?? ''}\n`);
    process.exitCode = 1;
  }
}
if (process.exitCode !== undefined && process.exitCode !== 0) process.exit();
