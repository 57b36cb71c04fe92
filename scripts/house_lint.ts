/**
 * The project's own lint rules, run by `deno lint`: what the import order, the ban on global state, the
 * place of each kind of I/O and the hot path ask for. Each rule reads the syntax of one file, except the search for
 * circles of imports, which reads the file's neighbours too.
 */

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import {
  folderOf,
  importCircle,
  importFault,
  relativeImports,
  resolveImport,
} from "./import_order.ts";

/** The project's folder, with a slash at the end. */
const PROJECT = `${dirname(dirname(fileURLToPath(import.meta.url)))}/`;

/** Ambient time and chance; only `src/base` has them, everybody else is given a clock and a random source. */
const AMBIENT: Readonly<Record<string, readonly string[]>> = {
  Date: ["now"],
  performance: ["now", "timeOrigin"],
  Math: ["random"],
  crypto: ["randomUUID", "getRandomValues"],
};

/** Timers, likewise. */
const TIMERS: readonly string[] = ["setTimeout", "setInterval", "setImmediate"];

/** What opens or names sockets; only `src/net` has them. */
const SOCKETS: readonly string[] = [
  ...["listen", "listenTls", "listenDatagram", "connect", "connectTls", "startTls"],
  ...["Conn", "TcpConn", "UnixConn", "TlsConn", "Listener", "TcpListener", "UnixListener"],
];

/** Modules of sockets. */
const SOCKET_MODULES: readonly string[] = ["node:net", "node:tls", "node:dgram"];

/** Folders of pure knowledge, which ask nothing of the runtime. */
const WITHOUT_RUNTIME: readonly string[] = ["wire", "link", "auth"];

/** Folders that never wait. */
const WITHOUT_AWAIT: readonly string[] = ["wire", "link"];

/** Classes whose objects may be made at module level: they hold no state that changes by use. */
const CONSTANT_CLASSES: readonly string[] = [
  ...["TextEncoder", "TextDecoder", "RegExp", "URL", "Error"],
  // Tables and ready-made messages: TypeScript has no read-only form of them.
  ...["Uint8Array", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array"],
  ...["Float64Array", "BigInt64Array", "BigUint64Array"],
];

/** The path of a linted file from the project's folder. */
function pathOf(context: Deno.lint.RuleContext): string {
  const name = context.filename.replaceAll("\\", "/");
  return name.startsWith(PROJECT) ? name.slice(PROJECT.length) : name;
}

/** Whether the rules for sources, not those for scripts and tests, hold. */
function isSource(path: string): boolean {
  return folderOf(path) !== undefined;
}

/** A rule that looks only at files for which `applies` is true. */
function ruleFor(
  applies: (path: string) => boolean,
  visit: (context: Deno.lint.RuleContext, path: string) => Deno.lint.LintVisitor,
): Deno.lint.Rule {
  return {
    create(context) {
      const path = pathOf(context);
      return applies(path) ? visit(context, path) : {};
    },
  };
}

/** A visitor that gives each import of any form, with its specifier. */
function eachImport(
  report: (node: Deno.lint.Node, specifier: string) => void,
): Deno.lint.LintVisitor {
  return {
    ImportDeclaration: (node) => report(node, node.source.value),
    ExportAllDeclaration: (node) => report(node, node.source.value),
    ExportNamedDeclaration(node) {
      if (node.source !== null) report(node, node.source.value);
    },
    ImportExpression(node) {
      if (node.source.type === "Literal") report(node, String(node.source.value));
    },
  };
}

const importOrder = ruleFor(isSource, (context, path) =>
  eachImport((node, specifier) => {
    if (!specifier.startsWith(".")) return;
    const fault = importFault(path, resolveImport(path, specifier));
    if (fault !== undefined) context.report({ node, message: `Import order: ${fault}` });
  }));

const importCircles = ruleFor(isSource, (context, path) => ({
  Program(node) {
    const circle = importCircle(path, (at) => {
      const source = at === path ? context.sourceCode.text : sourceOf(at);
      // Only siblings: between folders the import order allows no circle.
      return relativeImports(source).map((specifier) => resolveImport(at, specifier))
        .filter((target) => dirname(target) === dirname(path));
    });
    if (circle === undefined) return;
    context.report({ node, message: `Imports in a circle: ${circle.join(" → ")}` });
  },
}));

/** The text of another source file; one that is missing is the type check's business. */
function sourceOf(path: string): string {
  try {
    return Deno.readTextFileSync(PROJECT + path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

const moduleState = ruleFor(
  (path) => isSource(path) || path.startsWith("scripts/"),
  (context) => ({
    Program(program) {
      for (const statement of program.body) {
        const node = statement.type === "ExportNamedDeclaration"
          ? statement.declaration
          : statement;
        if (node?.type === "VariableDeclaration") checkModuleVariable(context, node);
      }
    },
    PropertyDefinition(node) {
      if (node.static && !node.readonly) {
        context.report({ node, message: "A static field that is not readonly is global state" });
      }
    },
  }),
);

/** Reports a variable at module level that can change, or whose value can. */
function checkModuleVariable(
  context: Deno.lint.RuleContext,
  node: Deno.lint.VariableDeclaration,
): void {
  if (node.kind === "let" || node.kind === "var") {
    context.report({ node, message: `No ${node.kind} at module level: it is global state` });
    return;
  }
  for (const { id, init } of node.declarations) {
    const annotation = id.type === "Identifier" ? id.typeAnnotation?.typeAnnotation : undefined;
    if (init === null || !isChangeable(init, annotation)) continue;
    const hint = "Say Readonly…, readonly …[] or as const, or make it where it is owned";
    context.report({ node: init, message: "This value at module level can change", hint });
  }
}

/** Whether a module-level value could be used to keep state. */
function isChangeable(init: Deno.lint.Expression, type: Deno.lint.TypeNode | undefined): boolean {
  if (type !== undefined && isReadonlyType(type)) return false;
  if (init.type === "ArrayExpression") return true;
  // An object of a named type is as read-only as that type's fields, which its own file decides.
  if (init.type === "ObjectExpression") return type === undefined;
  if (init.type === "NewExpression") {
    return init.callee.type !== "Identifier" || !CONSTANT_CLASSES.includes(init.callee.name);
  }
  if (init.type === "TSSatisfiesExpression") return isChangeable(init.expression, type);
  return false; // Calls, literals, functions and `as const`.
}

/** Whether a type says by its first word that its values do not change. */
function isReadonlyType(type: Deno.lint.TypeNode): boolean {
  if (type.type === "TSTypeOperator") return type.operator === "readonly";
  return type.type === "TSTypeReference" && type.typeName.type === "Identifier" &&
    type.typeName.name.startsWith("Readonly");
}

const ambient = ruleFor(
  (path) => isSource(path) && folderOf(path) !== "base",
  (context) => ({
    MemberExpression(node) {
      if (node.object.type !== "Identifier" || node.property.type !== "Identifier") return;
      const name = `${node.object.name}.${node.property.name}`;
      if (!AMBIENT[node.object.name]?.includes(node.property.name)) return;
      context.report({ node, message: `${name} only in src/base: take a Clock or a Random` });
    },
    CallExpression(node) {
      if (node.callee.type !== "Identifier" || !TIMERS.includes(node.callee.name)) return;
      context.report({ node, message: `${node.callee.name} only in src/base: take a Clock` });
    },
    NewExpression(node) {
      if (node.callee.type !== "Identifier" || node.callee.name !== "Date") return;
      if (node.arguments.length > 0) return;
      context.report({ node, message: "new Date() only in src/base: take a Clock" });
    },
  }),
);

const consoleUse = ruleFor(
  (path) => isSource(path) && path !== "src/cli.ts",
  (context) => ({
    MemberExpression(node) {
      if (node.object.type !== "Identifier" || node.object.name !== "console") return;
      context.report({ node, message: "console only in scripts/ and src/cli.ts: take a Logger" });
    },
  }),
);

const socketsInNet = ruleFor(
  (path) => isSource(path) && folderOf(path) !== "net",
  (context) => ({
    ...eachImport((node, specifier) => {
      if (!SOCKET_MODULES.includes(specifier)) return;
      context.report({ node, message: `${specifier} only in src/net` });
    }),
    ...eachDenoName((node, name) => {
      if (SOCKETS.includes(name)) context.report({ node, message: `Deno.${name} only in src/net` });
    }),
  }),
);

const pureFolders = ruleFor(
  (path) => WITHOUT_RUNTIME.includes(folderOf(path) ?? ""),
  (context, path) => {
    const folder = folderOf(path) ?? "";
    const visitor = eachDenoName((node) =>
      context.report({ node, message: `Nothing of Deno in src/${folder}: it is pure` })
    );
    if (!WITHOUT_AWAIT.includes(folder)) return visitor;
    return {
      ...visitor,
      AwaitExpression: (node) =>
        context.report({ node, message: `No await in src/${folder}: it is pure` }),
    };
  },
);

/** A visitor that gives each `Deno.name`, in values and in types. */
function eachDenoName(
  report: (node: Deno.lint.Node, name: string) => void,
): Deno.lint.LintVisitor {
  return {
    MemberExpression(node) {
      if (node.object.type !== "Identifier" || node.object.name !== "Deno") return;
      if (node.property.type === "Identifier") report(node, node.property.name);
    },
    TSQualifiedName(node) {
      if (node.left.type !== "Identifier" || node.left.name !== "Deno") return;
      report(node, node.right.name);
    },
  };
}

const docComments = ruleFor(
  (path) => isSource(path) || path.startsWith("scripts/"),
  (context) => ({
    ExportNamedDeclaration(node) {
      if (node.declaration === null) return; // A list of names, documented where they are made.
      const comments = context.sourceCode.getCommentsBefore(node);
      const isDocumented = comments.some(({ type, value }) =>
        type === "Block" && value.startsWith("*")
      );
      if (!isDocumented) context.report({ node, message: "Every export has a doc comment" });
    },
  }),
);

/** V8 reads a private accessor by a call of its C++ runtime each time, also in compiled code. */
const privateAccessors = ruleFor(isSource, (context) => ({
  MethodDefinition(node) {
    if (node.kind !== "get" && node.kind !== "set") return;
    if (node.key.type !== "PrivateIdentifier") return;
    const message = "No private accessors, which are slow: write a private method";
    context.report({ node, message });
  },
}));

/** The plugin that `deno.json` names. */
const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "import-order": importOrder,
    "import-circles": importCircles,
    "module-state": moduleState,
    "ambient": ambient,
    "console": consoleUse,
    "sockets-in-net": socketsInNet,
    "pure-folders": pureFolders,
    "doc-comments": docComments,
    "private-accessors": privateAccessors,
  },
};

export default plugin;
