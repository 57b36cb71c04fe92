/** Sluice as a process: command line, configuration, user, log, signals, exit status. */

import { errorStack, errorText } from "../base/error_text.ts";
import { versionText } from "../admin/version.ts";
import { AwakeClock } from "../base/awake_clock.ts";
import { HeldClock, systemClock } from "../base/clock.ts";
import { systemRandom } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import { checkReport } from "../config/check_report.ts";
import { convertIni } from "../config/convert.ts";
import { ConfigErrors } from "../config/load.ts";
import type { Settings } from "../config/settings.ts";
import { needsTls, usesTls } from "../config/tls_needs.ts";
import { jsonLine, type LineOf, pgBouncerLine } from "../log/log_line.ts";
import { Logger } from "../log/logger.ts";
import {
  type Engine,
  type EngineChoice,
  EngineError,
  type EngineName,
  openEngine,
  probeEngine,
} from "../net/engine.ts";
import {
  ACTIVATION_VARIABLES,
  ActivationError,
  activationText,
  type HandedSocket,
  planActivation,
  takeActivated,
} from "../net/native/activated_sockets.ts";
import type { Duty } from "../maintenance/janitor.ts";
import { NoLibcError } from "../net/native/libc.ts";
import { DescriptorError } from "../net/native/listening_descriptor.ts";
import { ProcessLibc } from "../net/native/process_libc.ts";
import { type ListenAddress, ListenError } from "../net/network.ts";
import { TlsSetupError } from "../net/tls.ts";
import { LoopLag } from "../stats/loop_lag.ts";
import { readArguments, type RunInvocation, USAGE } from "./arguments.ts";
import { checkDiff } from "./check_diff.ts";
import { FILE_IO, loadFiles, readTlsFile, USER_LIST_FILE, UserListError } from "./config_files.ts";
import { ConsoleError } from "./console_client.ts";
import { consoleCommand } from "./console_command.ts";
import { detach, isInBackground, reportReady } from "./daemon.ts";
import { hbaNotes, type HbaQuestion, hbaReport } from "./hba_report.ts";
import { readHostSecret } from "./host_secret.ts";
import type { LoadedConfig } from "./live_config.ts";
import { ldapText } from "./login_rules.ts";
import { LogFileError, ProcessLog } from "./log_sinks.ts";
import { MemoryTrimmer } from "./memory_trimmer.ts";
import { ownNetworks } from "./own_networks.ts";
import { runPamHelper } from "./pam_helper.ts";
import { PAM_HELPER_ARGUMENT, PamHelpers } from "./pam_helpers.ts";
import { Pidfile, PidfileError } from "./pidfile.ts";
import { Pooler } from "./pooler.ts";
import { becomeUser, groupIdOf, ownUid, PrivilegeError } from "./privileges.ts";
import { ReadinessFileError } from "./readiness_file.ts";
import { openResolver, ResolvConfError } from "./server_names.ts";
import { ServiceState } from "./service_state.ts";
import { handleSignals } from "./signals.ts";
import { socketWarnings } from "./socket_warnings.ts";
import { streamOptionsOf } from "./stream_options.ts";
import { SyslogSwitch } from "./syslog_switch.ts";
import { tlsReport } from "./tls_report.ts";

/** Names the socket of the log daemon where it is not the usual one. */
const SYSLOG_VARIABLE = "SLUICE_SYSLOG_SOCKET";

/** How long a running Sluice may take to say what a reload would change. */
const DIFF_LIMIT_MS = 10_000;

/** Exit statuses. */
const EXIT = { ok: 0, failed: 1, badConfiguration: 2 } as const;

/** Runs what the command line asks for. Returns the exit status. */
export async function runProcess(args: readonly string[]): Promise<number> {
  if (args.length === 1 && args[0] === PAM_HELPER_ARGUMENT) return await runPamHelper();
  const invocation = readArguments(args);
  switch (invocation.kind) {
    case "help":
      return print(USAGE, EXIT.ok);
    case "version":
      return print(`${versionText()}\n`, EXIT.ok);
    case "usage_error":
      return complain(`${invocation.message}\n\n${USAGE}`, EXIT.failed);
    case "check":
      return await reportingErrors(() =>
        invocation.isDiff ? diff(invocation.path) : check(invocation.path)
      );
    case "console":
      return await reportingErrors(() => askConsole(invocation.path, invocation.command));
    case "convert":
      return await reportingErrors(async () => {
        return print(await convertIni(invocation.path, FILE_IO), EXIT.ok);
      });
    case "hba":
      return await reportingErrors(() => explainHba(invocation.path, invocation.question));
    case "run":
      return await reportingErrors(() => run(invocation));
  }
}

async function check(path: string): Promise<number> {
  const { config, rules } = await loadFiles(path);
  const { settings } = config;
  const { name, reason } = await probeEngine(settings.ioEngine, {
    random: systemRandom(),
    needsTls: needsTls(config),
  });
  const engine = reason === undefined ? name : `${name} (${reason})`;
  const options = rules?.ldap?.options;
  const ldap = options === undefined ? [] : [`auth_ldap_options: ${ldapText(options)}`];
  const sockets = socketWarnings(settings, { engine: name, maxBacklog: maxBacklog() });
  const lines = [
    ...checkReport(config, engine),
    ...sockets.map((warning) => `warning: ${warning}`),
    ...ldap,
    ...await checkTls(config, name),
  ];
  return printLines(lines);
}

/**
 * Sets TLS up as a start would, and says what came of it.
 * @throws {TlsSetupError} If a start would fail.
 */
async function checkTls(config: Config, choice: EngineChoice): Promise<string[]> {
  const { settings } = config;
  if (!usesTls(config)) return [];
  // It is this user who has to be able to read a key.
  if (settings.user !== undefined && ownUid() === 0) becomeUser(settings.user);
  const clock = new HeldClock(systemClock());
  const onError = (error: unknown) => complain(`${errorText(error)}\n`, EXIT.failed);
  await using engine = await openEngine(choice, {
    clock,
    random: systemRandom(),
    groupIdOf,
    onAcceptError: onError,
    onError,
    needsTls: needsTls(config),
  });
  return await tlsReport(config, {
    engine: engine.network.tls,
    read: readTlsFile,
    nowWallMs: clock.wallMs(),
  });
}

/** What a reload would change in the Sluice that runs with the configuration. */
async function diff(path: string): Promise<number> {
  const { config: { settings } } = await loadFiles(path);
  await using engine = await openAskingEngine();
  const lines = await checkDiff({
    path,
    ...askingOptions(engine, settings),
    limitMs: DIFF_LIMIT_MS,
    isSameFile: async (a, b) => a === b || await realPathOf(a) === await realPathOf(b),
  });
  return printLines(lines);
}

/** Has the Sluice that runs with the configuration carry out a command, however long that takes. */
async function askConsole(path: string, command: string): Promise<number> {
  const { config: { settings } } = await loadFiles(path);
  await using engine = await openAskingEngine();
  const lines = await consoleCommand({ ...askingOptions(engine, settings), command, limitMs: 0 });
  return printLines(lines);
}

/** An engine for one connection to another Sluice. */
function openAskingEngine(): Promise<Engine> {
  const onError = (error: unknown) => complain(`${errorText(error)}\n`, EXIT.failed);
  return openEngine("portable", {
    clock: new HeldClock(systemClock()),
    random: systemRandom(),
    groupIdOf,
    onAcceptError: onError,
    onError,
  });
}

function askingOptions({ network }: Engine, settings: Settings) {
  const streamOptions = streamOptionsOf(settings, settings.pktBufBytes);
  return { settings, network, clock: systemClock(), streamOptions };
}

/** Of a path that leads nowhere, the path itself. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch {
    // It need not be there from here: it is one of another process.
    return path;
  }
}

async function systemUserOf(uid: number): Promise<string | undefined> {
  using libc = ProcessLibc.open();
  return await libc.userName(uid);
}

async function explainHba(path: string, question: HbaQuestion): Promise<number> {
  const { config, rules } = await loadFiles(path);
  if (rules?.hba === undefined) return complain(`${path}: auth_hba_file is not set\n`, EXIT.failed);
  const { isAsked, lines } = hbaReport(rules.hba, question, ownNetworks);
  const text = [...lines, ...hbaNotes(config.settings, question)].map((line) => `${line}\n`).join(
    "",
  );
  return print(text, isAsked ? EXIT.ok : EXIT.failed);
}

async function run(invocation: RunInvocation): Promise<number> {
  const loaded = await loadFiles(invocation.path);
  const { settings } = loaded.config;
  const handed = handedSockets();
  if (invocation.isDaemon) {
    if (handed.length > 0) {
      return complain("-d does not go with socket activation (LISTEN_FDS)\n", EXIT.failed);
    }
    if (settings.logfile === "" && !settings.syslog) {
      return complain("-d needs logfile or syslog to be set\n", EXIT.failed);
    }
    const start = await detach(invocation);
    return start.isUp ? EXIT.ok : complain(start.complaint, start.status || EXIT.failed);
  }
  becomeUser(invocation.user ?? settings.user);
  using sink = new ProcessLog({ path: settings.logfile, isQuiet: invocation.isQuiet });
  return await serve(invocation, { loaded, sink, handed });
}

/** What was handed over; no child process hears of it. @throws {ActivationError} If it is nonsense. */
function handedSockets(): readonly HandedSocket[] {
  try {
    return planActivation((name) => Deno.env.get(name), Deno.pid);
  } finally {
    for (const name of ACTIVATION_VARIABLES) Deno.env.delete(name);
  }
}

/** What a process serves with. */
interface ServeOptions {
  readonly loaded: LoadedConfig;
  readonly sink: ProcessLog;
  readonly handed: readonly HandedSocket[];
}

/** The log, and what of it follows the settings. */
interface LogParts {
  readonly log: Logger;
  readonly syslog: SyslogSwitch;
}

async function serve(
  invocation: RunInvocation,
  { handed, loaded, sink }: ServeOptions,
): Promise<number> {
  const log = new Logger({
    clock: systemClock(),
    processId: Deno.pid,
    sink,
    verbosity: verbosityOf(invocation, loaded),
  });
  setFormat({ log, sink }, loaded.config.settings);
  using syslog = new SyslogSwitch({ sink, log, path: Deno.env.get(SYSLOG_VARIABLE) });
  syslog.follow(loaded.config.settings);
  try {
    await servePooler(invocation, { syslog, handed, loaded, sink, log });
  } catch (error) {
    // In the background nobody sees anything but the log.
    if (invocation.isQuiet && isUsers(error)) log.fatal(error.message);
    throw error;
  }
  log.log("process down");
  return EXIT.ok;
}

/** Gives lines the form that is set. */
function setFormat({ log, sink }: { log: Logger; sink: ProcessLog }, settings: Settings): void {
  log.lineOf = sink.lineOf = lineOf(settings);
}

function lineOf({ jobName, logFormat }: Settings): LineOf {
  const processId = Deno.pid;
  return logFormat === "json" ? jsonLine({ job: jobName, processId }) : pgBouncerLine(processId);
}

function verbosityOf(invocation: RunInvocation, { config }: LoadedConfig): number {
  return Math.max(invocation.verbosity, config.settings.verbose);
}

async function servePooler(
  invocation: RunInvocation,
  { handed, loaded, log, sink, syslog }: ServeOptions & LogParts,
): Promise<void> {
  const { ioEngine, readinessFile } = loaded.config.settings;
  using pidfile = holdPidfile(loaded.config.settings, log);
  using state = new ServiceState({ clock: systemClock(), log, readinessFile });
  noteStart(log, loaded);
  const listenOn = takeHanded(handed, { loaded, log });
  const start = (choice: EngineChoice) =>
    startPooler(choice, { invocation, listenOn, loaded, log, sink, state, syslog });
  await using running = await start(ioEngine).catch((error: unknown) => {
    if (ioEngine !== "auto" || !(error instanceof DescriptorError)) throw error;
    log.log(`I/O engine: portable, not native: ${error.message}`);
    return start("portable");
  });
  const { engine, pooler } = running;
  using _signals = handleSignals({ pooler, log, rotate: () => rotate(sink, log) });
  using _rejections = handleRejections(log);
  const tls = engine.network.tls.name;
  const extra = engine.extra === undefined ? "" : ` with ${engine.extra}`;
  log.log(
    `process up: ${versionText()}, Deno ${Deno.version.deno}, I/O engine ${engine.name}${extra}, TLS ${tls}`,
  );
  try {
    pidfile?.takeOver();
    state.serving();
  } catch (error) {
    // Nobody would ever send it a client.
    pooler.shutdown("immediate");
    await pooler.stopped;
    throw error;
  }
  if (isInBackground()) reportReady();
  await pooler.stopped;
}

/**
 * Where the sockets listen that were handed over; undefined if there are none.
 * @throws {ActivationError} If they cannot be used.
 */
function takeHanded(
  handed: readonly HandedSocket[],
  { loaded, log }: { loaded: LoadedConfig; log: Logger },
): readonly ListenAddress[] | undefined {
  if (handed.length === 0) return undefined;
  try {
    using libc = ProcessLibc.open();
    const addresses = takeActivated(libc, handed, loaded.config.settings.listenPort);
    log.log(activationText(addresses));
    return addresses;
  } catch (error) {
    if (!(error instanceof NoLibcError)) throw error;
    throw new ActivationError(`Cannot use the sockets of LISTEN_FDS: ${error.message}`);
  }
}

/** What the pooler is started with. */
interface StartOptions extends LogParts {
  readonly listenOn: readonly ListenAddress[] | undefined;
  readonly invocation: RunInvocation;
  readonly loaded: LoadedConfig;
  readonly sink: ProcessLog;
  readonly state: ServiceState;
}

/** A pooler that serves, and what it runs on; to be disposed of when it has stopped. */
interface RunningPooler extends AsyncDisposable {
  readonly pooler: Pooler;
  readonly engine: Engine;
}

/**
 * Opens an engine and starts the pooler on it.
 * @throws {DescriptorError} If the native engine cannot work with a listener.
 * @throws {EngineError} If it has to be the native engine, and that does not work here.
 * @throws {ListenError} If an address cannot be listened on.
 * @throws {ResolvConfError} If `resolv_conf` cannot be read.
 */
async function startPooler(
  choice: EngineChoice,
  { invocation, listenOn, loaded, log, sink, state, syslog }: StartOptions,
): Promise<RunningPooler> {
  const clock = new HeldClock(new AwakeClock(systemClock()));
  const random = systemRandom();
  const loopLag = new LoopLag(systemClock());
  await using started = new AsyncDisposableStack();
  const engine = started.use(
    await openEngine(choice, {
      clock,
      random,
      loopLag,
      groupIdOf,
      onAcceptError: (error) => log.error(`accept failed, pausing: ${errorText(error)}`),
      onError: (error) => log.error(`internal error: ${errorStack(error)}`),
      needsTls: needsTls(loaded.config),
    }),
  );
  const { name, reason } = engine;
  if (reason !== undefined) log.log(`I/O engine: portable, not native: ${reason}`);
  const noteSockets = socketNotes(log, name);
  noteSockets(loaded.config.settings);
  const pooler = new Pooler({
    clock,
    random,
    log,
    loopLag,
    network: engine.network,
    resolver: await openResolver(loaded.config.settings),
    engine: engine.name,
    loaded,
    load: loadFiles,
    readTlsFile,
    userListFile: USER_LIST_FILE,
    ...(listenOn === undefined ? {} : { listenOn }),
    ownUid: ownUid(),
    systemUserOf,
    ownNetworks,
    askPam: started.use(new PamHelpers({ clock, random })).ask,
    hostSecret: readHostSecret(),
    memory: () => Deno.memoryUsage(),
    duties: memoryDuties(started),
    onReloading: () => state.reloading(),
    onReloadEnded: (isTaken) => state.reloaded(isTaken),
    onShuttingDown: () => state.stopping(),
    onReloaded: (now) => {
      // First, since it may fail: then nothing is to have changed.
      sink.reopen(now.config.settings.logfile);
      log.verbosity = verbosityOf(invocation, now);
      setFormat({ log, sink }, now.config.settings);
      syslog.follow(now.config.settings);
      noteSockets(now.config.settings);
    },
  });
  await pooler.start();
  const resources = started.move();
  return { pooler, engine, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Keeps memory small where the C library can be asked to; it keeps less elsewhere, or cannot. */
function memoryDuties(resources: AsyncDisposableStack): readonly Duty[] {
  try {
    const libc = resources.use(ProcessLibc.open());
    const residentBytes = () => Deno.memoryUsage().rss;
    return [new MemoryTrimmer({ residentBytes, trim: () => libc.trimMemory() })];
  } catch (error) {
    if (error instanceof NoLibcError) return [];
    throw error;
  }
}

/** Says once of each setting of sockets that it is not in force, at the start and by a reload. */
function socketNotes(log: Logger, engine: EngineName): (settings: Settings) => void {
  const surroundings = { engine, maxBacklog: maxBacklog() };
  const told = new Set<string>();
  return (settings) => {
    for (const warning of socketWarnings(settings, surroundings)) {
      if (!told.has(warning)) log.warning(warning);
      told.add(warning);
    }
  };
}

/** Undefined where the kernel does not tell. */
function maxBacklog(): number | undefined {
  try {
    return Number(Deno.readTextFileSync("/proc/sys/net/core/somaxconn"));
  } catch {
    return undefined;
  }
}

/** A pid file that cannot be removed at the end is worth a line, not a failure. */
function holdPidfile(
  { pidfile: path, soReuseport: isShared }: Settings,
  log: Logger,
): Disposable & Pick<Pidfile, "takeOver"> | undefined {
  if (path === "") return undefined;
  const pidfile = Pidfile.create(path, { isShared });
  return {
    takeOver: () => pidfile.takeOver(),
    [Symbol.dispose]() {
      try {
        pidfile.remove();
      } catch (error) {
        log.error(errorText(error));
      }
    },
  };
}

function noteStart(log: Logger, { config }: LoadedConfig): void {
  for (const warning of config.warnings) log.warning(warning);
  if (config.settings.authType === "any") {
    for (const { name, user } of config.databases.values()) {
      if (user === undefined) log.warning(`database "${name}": auth_type any needs a forced user`);
    }
  }
}

/** The last line of defence: an error that nobody awaited must not end all that is being served. */
function handleRejections(log: Logger): Disposable {
  const handler = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    const { reason } = event;
    log.error(`internal error: ${errorStack(reason)}`);
  };
  addEventListener("unhandledrejection", handler);
  return { [Symbol.dispose]: () => removeEventListener("unhandledrejection", handler) };
}

/** Opens the log file anew whatever becomes of the reload: it may have been moved away. */
function rotate(sink: ProcessLog, log: Logger): void {
  try {
    sink.rotate();
  } catch (error) {
    log.error(errorText(error));
  }
}

/** Turns the errors that a user can mend into words and an exit status. */
async function reportingErrors(action: () => Promise<number>): Promise<number> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof ConfigErrors) {
      return complain(error.errors.map((each) => `${each}\n`).join(""), EXIT.badConfiguration);
    }
    if (error instanceof UserListError || error instanceof TlsSetupError) {
      return complain(`${error.message}\n`, EXIT.badConfiguration);
    }
    if (isUsers(error)) return complain(`${error.message}\n`, EXIT.failed);
    throw error;
  }
}

/** Whether an error says what the one who started Sluice can do about it. */
function isUsers(error: unknown): error is Error {
  return error instanceof PrivilegeError || error instanceof ListenError ||
    error instanceof EngineError || error instanceof DescriptorError ||
    error instanceof ActivationError || error instanceof PidfileError ||
    error instanceof ReadinessFileError || error instanceof LogFileError ||
    error instanceof ConsoleError || error instanceof TlsSetupError ||
    error instanceof ResolvConfError || error instanceof Deno.errors.NotCapable;
}

function print(text: string, status: number): number {
  writeAll(Deno.stdout, text);
  return status;
}

function printLines(lines: readonly string[]): number {
  return print(lines.map((line) => `${line}\n`).join(""), EXIT.ok);
}

function complain(text: string, status: number): number {
  writeAll(Deno.stderr, text);
  return status;
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) sent += stream.writeSync(bytes.subarray(sent));
}
