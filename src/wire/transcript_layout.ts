/**
 * What the messages of protocol 3 are made of, for printing them. Pure; nothing is forwarded or
 * decided by these tables.
 * Source: PostgreSQL, "Message Formats".
 */

import { Backend, Frontend } from "./message_type.ts";

/** A field of a message; a list has a count before its items. */
export type Field =
  | "byte"
  | "int16"
  | "int32"
  /** Up to a zero byte. */
  | "text"
  /** A length and as many bytes; length -1 is NULL. */
  | "value"
  /** All that is left, as bytes. */
  | "rest"
  /** Texts up to an empty one, which is printed. */
  | "texts"
  /** A letter and a text each, up to a zero byte. */
  | "report"
  | { readonly items: readonly Field[]; readonly count: "int16" | "int32" };

/** A message's name and fields. */
export interface Layout {
  /** As libpq traces it. */
  readonly name: string;
  /** In the order of its body. */
  readonly fields: readonly Field[];
}

/** Layouts by type byte or code. */
export type Layouts = Readonly<Record<number, Layout>>;

/** What a frontend sends, but for the answers to authentication requests. */
export const FRONTEND: Layouts = {
  [Frontend.Bind]: {
    name: "Bind",
    fields: ["text", "text", listOf("int16"), listOf("value"), listOf("int16")],
  },
  [Frontend.Close]: { name: "Close", fields: ["byte", "text"] },
  [Frontend.CopyData]: { name: "CopyData", fields: ["rest"] },
  [Frontend.CopyDone]: { name: "CopyDone", fields: [] },
  [Frontend.CopyFail]: { name: "CopyFail", fields: ["text"] },
  [Frontend.Describe]: { name: "Describe", fields: ["byte", "text"] },
  [Frontend.Execute]: { name: "Execute", fields: ["text", "int32"] },
  [Frontend.Flush]: { name: "Flush", fields: [] },
  [Frontend.FunctionCall]: {
    name: "FunctionCall",
    fields: ["int32", listOf("int16"), listOf("value"), "int16"],
  },
  [Frontend.Parse]: { name: "Parse", fields: ["text", "text", listOf("int32")] },
  [Frontend.Query]: { name: "Query", fields: ["text"] },
  [Frontend.Sync]: { name: "Sync", fields: [] },
  [Frontend.Terminate]: { name: "Terminate", fields: [] },
};

/** What a backend sends, but for its authentication requests. */
export const BACKEND: Layouts = {
  [Backend.BackendKeyData]: { name: "BackendKeyData", fields: ["int32", "rest"] },
  [Backend.BindComplete]: { name: "BindComplete", fields: [] },
  [Backend.CloseComplete]: { name: "CloseComplete", fields: [] },
  [Backend.CommandComplete]: { name: "CommandComplete", fields: ["text"] },
  [Backend.CopyBothResponse]: { name: "CopyBothResponse", fields: ["byte", listOf("int16")] },
  [Backend.CopyData]: { name: "CopyData", fields: ["rest"] },
  [Backend.CopyDone]: { name: "CopyDone", fields: [] },
  [Backend.CopyInResponse]: { name: "CopyInResponse", fields: ["byte", listOf("int16")] },
  [Backend.CopyOutResponse]: { name: "CopyOutResponse", fields: ["byte", listOf("int16")] },
  [Backend.DataRow]: { name: "DataRow", fields: [listOf("value")] },
  [Backend.EmptyQueryResponse]: { name: "EmptyQueryResponse", fields: [] },
  [Backend.ErrorResponse]: { name: "ErrorResponse", fields: ["report"] },
  [Backend.FunctionCallResponse]: { name: "FunctionCallResponse", fields: ["value"] },
  [Backend.NegotiateProtocolVersion]: {
    name: "NegotiateProtocolVersion",
    fields: ["int32", { items: ["text"], count: "int32" }],
  },
  [Backend.NoData]: { name: "NoData", fields: [] },
  [Backend.NoticeResponse]: { name: "NoticeResponse", fields: ["report"] },
  [Backend.NotificationResponse]: {
    name: "NotificationResponse",
    fields: ["int32", "text", "text"],
  },
  [Backend.ParameterDescription]: { name: "ParameterDescription", fields: [listOf("int32")] },
  [Backend.ParameterStatus]: { name: "ParameterStatus", fields: ["text", "text"] },
  [Backend.ParseComplete]: { name: "ParseComplete", fields: [] },
  [Backend.PortalSuspended]: { name: "PortalSuspended", fields: [] },
  [Backend.ReadyForQuery]: { name: "ReadyForQuery", fields: ["byte"] },
  [Backend.RowDescription]: {
    name: "RowDescription",
    fields: [listOf("text", "int32", "int16", "int32", "int16", "int32", "int16")],
  },
};

/** By the code of an 'R' message, which is not printed; the name says it. */
export const AUTHENTICATION: Layouts = {
  0: { name: "AuthenticationOk", fields: [] },
  3: { name: "AuthenticationCleartextPassword", fields: [] },
  5: { name: "AuthenticationMD5Password", fields: ["rest"] },
  10: { name: "AuthenticationSASL", fields: ["texts"] },
  11: { name: "AuthenticationSASLContinue", fields: ["rest"] },
  12: { name: "AuthenticationSASLFinal", fields: ["rest"] },
};

/** What a 'p' message is, by the code of the 'R' message before it. */
export const ANSWERS: Layouts = {
  3: { name: "PasswordMessage", fields: ["text"] },
  5: { name: "PasswordMessage", fields: ["text"] },
  10: { name: "SASLInitialResponse", fields: ["text", "value"] },
  11: { name: "SASLResponse", fields: ["rest"] },
};

/** A 'p' message of which nothing is known. */
export const UNKNOWN_ANSWER: Layout = { name: "UnknownAuthenticationResponse", fields: ["rest"] };

function listOf(...items: readonly Field[]): Field {
  return { items, count: "int16" };
}
