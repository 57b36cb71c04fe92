/**
 * The manifests for Kubernetes: that it takes them, field by field, that what they say fits together,
 * and that their commands work on a Sluice that runs with their configuration.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { prepareLaunch, projectDir } from "../../scripts/staging.ts";
import { giveTo } from "../../scripts/unprivileged.ts";
import { loadConfig } from "../../src/config/load.ts";
import { eventually } from "../support/eventually.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { memoryIo } from "../unit/config/memory_files.ts";

type Json = null | boolean | number | string | readonly Json[] | JsonObject;

interface JsonObject {
  readonly [key: string]: Json;
}

const DEPLOY = join(projectDir(), "deploy");

const FILES = ["common", "secret.example", "stateful_set", "deployment"] as const;

/** Where keys are names of the operator's choice. */
const FREE = [".labels", ".matchLabels", ".data", ".stringData", ".requests", ".limits"]
  .concat("Service.spec.selector");

function read(file: typeof FILES[number]): JsonObject[] {
  const text = Deno.readTextFileSync(join(DEPLOY, "kubernetes", `${file}.yaml`));
  return parseAllDocuments(text).map((document) => {
    assert.deepEqual([...document.errors, ...document.warnings], [], file);
    return document.toJS() as JsonObject;
  });
}

/** What stands at a path of keys and places, written with dots. */
function at(value: Json | undefined, path: string): Json | undefined {
  let found: Json | undefined = value;
  for (const key of path.split(".")) found = (found as JsonObject | undefined)?.[key];
  return found;
}

/** The only document of a kind, of those with that name if one is given. */
function ofKind(documents: readonly JsonObject[], kind: string, name = "sluice"): JsonObject {
  const [found, ...others] = documents.filter((each) =>
    each["kind"] === kind && at(each, "metadata.name") === name
  );
  assert.ok(found !== undefined && others.length === 0, `one ${kind} ${name}`);
  return found;
}

const common = read("common");
const secret = read("secret.example");

/** The two ways to run it, each with all that is applied for it. */
const WAYS = [
  { kind: "StatefulSet", documents: [...common, ...secret, ...read("stateful_set")] },
  { kind: "Deployment", documents: [...common, ...secret, ...read("deployment")] },
] as const;

function podOf({ documents, kind }: typeof WAYS[number]): JsonObject {
  return at(ofKind(documents, kind), "spec.template") as JsonObject;
}

function containerOf(way: typeof WAYS[number]): JsonObject {
  return at(podOf(way), "spec.containers.0") as JsonObject;
}

/** The shell's line of preStop. */
function preStopOf(way: typeof WAYS[number]): string {
  const command = at(containerOf(way), "lifecycle.preStop.exec.command") as readonly string[];
  assert.deepEqual(command.slice(0, 2), ["sh", "-c"]);
  return command[2]!;
}

function configText(): string {
  return at(ofKind(common, "ConfigMap"), "data")!["config.toml" as never] as string;
}

/** Copies of a value of which each has one field by a wrong name: each field of `names`, once. */
function* misspelt(value: Json, names: Set<string>, path = ""): Generator<Json> {
  if (typeof value !== "object" || value === null) return;
  const isFree = FREE.some((name) => path.endsWith(name));
  for (const [key, inner] of Object.entries(value as JsonObject)) {
    for (const copy of misspelt(inner, names, `${path}.${key}`)) {
      yield Array.isArray(value)
        ? value.map((each, place) => String(place) === key ? copy : each)
        : { ...value as JsonObject, [key]: copy };
    }
    if (Array.isArray(value) || isFree || names.has(key)) continue;
    names.add(key);
    const { [key]: _, ...others } = value as JsonObject;
    yield { ...others, [`${key}x`]: inner };
  }
}

/** TypeScript that is right if Kubernetes knows every field of `documents`, and no misspelt one. */
function moduleOf(documents: readonly JsonObject[]): { text: string; misspeltCount: number } {
  const lines: string[] = [];
  const names = new Set<string>();
  for (const document of documents) {
    const { apiVersion, kind } = document;
    const folder = apiVersion === "v1" ? "core/v1" : apiVersion;
    const type = `import("kubernetes-types/${folder}").${kind}`;
    lines.push(`export const v${lines.length}: ${type} = ${JSON.stringify(document)};`);
    for (const copy of misspelt(document, names, `${kind}`)) {
      lines.push("// @ts-expect-error -- a field is misspelt");
      lines.push(`export const v${lines.length}: ${type} = ${JSON.stringify(copy)};`);
    }
  }
  return { text: lines.join("\n"), misspeltCount: names.size };
}

Deno.test("Kubernetes knows every field of the manifests, and a misspelt one is noticed", async () => {
  const { misspeltCount, text } = moduleOf(FILES.flatMap(read));
  assert.ok(misspeltCount > 80, `${misspeltCount} fields`);
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, text);
    const { stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--config", join(projectDir(), "deno.json"), path],
      env: { NO_COLOR: "1" },
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr).slice(0, 4_000));
  } finally {
    await Deno.remove(path);
  }
});

for (const way of WAYS) {
  const { documents, kind } = way;

  Deno.test(`${kind}: selectors find the pods, names what they name, and ports a port`, () => {
    const pod = podOf(way);
    const container = containerOf(way);
    const labels = at(pod, "metadata.labels") as JsonObject;
    const selectors = [
      at(ofKind(documents, kind), "spec.selector.matchLabels"),
      at(ofKind(documents, "PodDisruptionBudget"), "spec.selector.matchLabels"),
      at(pod, "spec.topologySpreadConstraints.0.labelSelector.matchLabels"),
      ...documents.filter((each) => each["kind"] === "Service").map((each) =>
        at(each, "spec.selector")
      ),
    ];
    for (const selector of selectors) {
      assert.ok(Object.keys(selector as JsonObject).length > 0);
      assert.deepEqual({ ...labels, ...selector as JsonObject }, labels);
    }
    const ports = container["ports"] as readonly JsonObject[];
    for (const service of documents.filter((each) => each["kind"] === "Service")) {
      for (const { port, targetPort } of at(service, "spec.ports") as readonly JsonObject[]) {
        const target = ports.find(({ name }) => name === targetPort);
        assert.equal(target?.["containerPort"], port, `${at(service, "metadata.name")}`);
      }
    }
    const { scaleTargetRef } = at(
      ofKind(documents, "HorizontalPodAutoscaler"),
      "spec",
    ) as JsonObject;
    const { apiVersion, metadata } = ofKind(documents, kind);
    assert.deepEqual(scaleTargetRef, { apiVersion, kind, name: (metadata as JsonObject)["name"]! });
    const volumes = at(pod, "spec.volumes") as readonly JsonObject[];
    const mounts = container["volumeMounts"] as readonly JsonObject[];
    assert.deepEqual(mounts.map(({ name }) => name), volumes.map(({ name }) => name));
    for (const volume of volumes) {
      const map = at(volume, "configMap.name");
      if (map !== undefined) ofKind(documents, "ConfigMap", String(map));
      const file = at(volume, "secret.secretName");
      if (file !== undefined) ofKind(documents, "Secret", String(file));
    }
  });

  Deno.test(`${kind}: the configuration is good, and its paths, port, passwords and peers are there`, async () => {
    const container = containerOf(way);
    const mounts = container["volumeMounts"] as readonly JsonObject[];
    const pathOf = (name: string) =>
      mounts.find((each) => each["name"] === name)!["mountPath"] as string;
    const path = `${pathOf("config")}/config.toml`;
    assert.deepEqual(container["args"], [path]);
    const passwords = Object.entries(at(ofKind(documents, "Secret"), "stringData") as JsonObject)
      .map(([name, text]) => [`${pathOf("secrets")}/${name}`, String(text)]);
    const files = { [path]: configText(), ...Object.fromEntries(passwords) };
    const env = Object.fromEntries(
      (container["env"] as readonly JsonObject[]).map(({ name, value = "1" }) => [name, value]),
    ) as Record<string, string>;
    const { peers, settings, users } = await loadConfig(path, memoryIo(files, env));
    assert.equal(users.size, passwords.length);
    assert.equal(settings.listenPort, at(container, "ports.0.containerPort"));
    const run = pathOf("run");
    assert.equal(settings.unixSocketDir, run);
    for (const file of [settings.pidfile, settings.readinessFile]) {
      assert.ok(file.startsWith(`${run}/`), file);
    }
    assert.deepEqual(at(container, "readinessProbe.exec.command"), [
      "test",
      "-e",
      settings.readinessFile,
    ]);
    assert.ok(preStopOf(way).includes(` ${path} `));
    assert.ok(preStopOf(way).includes(` ${settings.pidfile};`));
    if (kind === "Deployment") return assert.equal(settings.peerId, 0);
    const set = ofKind(documents, kind);
    const most = at(ofKind(documents, "HorizontalPodAutoscaler"), "spec.maxReplicas") as number;
    const domain = at(set, "spec.serviceName") as string;
    assert.equal(at(ofKind(documents, "Service", domain), "spec.clusterIP"), "None");
    assert.equal(at(set, "spec.ordinals.start"), 1);
    assert.deepEqual(
      [...peers.values()].map(({ host, id, port }) => [id, host, port]),
      Array.from({ length: most }, (_, i) => [i + 1, `sluice-${i + 1}.${domain}`, 6432]),
    );
  });

  Deno.test(`${kind}: preStop ends before the grace does, and what the image has is what is used`, () => {
    const [, pause, limit] = /^sleep (\d+); .* WAIT_FOR_TRANSACTIONS (\d+) &&/.exec(
      preStopOf(way),
    )!;
    const grace = at(podOf(way), "spec.terminationGracePeriodSeconds") as number;
    assert.ok(Number(pause) + Number(limit) + 5 <= grace);
    const image = Deno.readTextFileSync(join(DEPLOY, "Dockerfile"));
    const { runAsGroup, runAsUser } = at(podOf(way), "spec.securityContext") as JsonObject;
    assert.ok(image.includes(`\nUSER ${runAsUser}:${runAsGroup}\n`));
    assert.ok(image.includes('\nENTRYPOINT ["sluice"]\n'));
    assert.match(image, / \/usr\/local\/bin\/sluice\n/);
  });
}

Deno.test("the pods of both ways are the same but for the number among the peers", () => {
  const [one, other] = WAYS.map((way) => {
    const pod = podOf(way);
    const container = containerOf(way);
    const env = (container["env"] as readonly JsonObject[]).filter(({ name }) =>
      name !== "SLUICE_PEER_ID"
    );
    return { ...pod, spec: { ...pod["spec"] as JsonObject, containers: [{ ...container, env }] } };
  });
  assert.deepEqual(one, other);
});

const POD_ENV = { POD_NAME: "sluice-1", SLUICE_PEER_ID: "1" };

/** Runs a command of the manifests beside a Sluice, as the same user, with `sluice` in the PATH. */
async function runIn(sluice: SluiceProcess, [program, ...args]: readonly string[]) {
  const launch = await prepareLaunch();
  const { ids } = launch;
  const shim = join(sluice.dir, "sluice");
  const words = [launch.command, ...launch.args].map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(shim, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  await giveTo(ids, shim);
  return await new Deno.Command(program!, {
    args: args.map((arg) => here(arg, sluice.dir)),
    // What a command in a container has, too.
    env: {
      ...launch.env,
      ...POD_ENV,
      HOME: sluice.dir,
      PATH: `${sluice.dir}:${Deno.env.get("PATH")}`,
    },
    ...(ids ?? {}),
  }).output();
}

/** The paths of a pod, in a folder of the test's own. */
function here(text: string, dir: string): string {
  return text.replaceAll(/\/run\/sluice|\/etc\/sluice\/(config|secrets)/g, dir);
}

Deno.test("the readiness probe and preStop work on a Sluice with that configuration", async () => {
  const [way] = WAYS;
  const port = freePort();
  await using sluice = await startSluice({
    config: here(configText(), "{dir}").replace("listen_port = 6432", `listen_port = ${port}`),
    files: { app: "secret" },
    env: POD_ENV,
  });
  const probe = at(containerOf(way), "readinessProbe.exec.command") as readonly string[];
  await eventually("it is ready", async () => (await runIn(sluice, probe)).success);
  const line = preStopOf(way).replace(/^sleep \d+; /, "");
  const { code, stderr } = await runIn(sluice, ["sh", "-c", line]);
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
  assert.equal((await sluice.exited).code, 0);
  assert.equal((await runIn(sluice, probe)).success, false);
  const messages = sluice.log().trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(messages.at(-1).message, "process down");
  assert.ok(messages.every(({ job }) => job === "sluice-1"));
});
