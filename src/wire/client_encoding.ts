/**
 * Texts of a server in the encoding that its client has asked for. Pure.
 * Source: PostgreSQL, "Character Set Support"; the labels are those of the Encoding Standard.
 */

import { decodeText } from "./body_reader.ts";

/** Reads the bytes of `buffer` from `start` to `end`. */
export type TextReader = (buffer: Uint8Array, start: number, end: number) => string;

/** What `TextDecoder` calls the encodings, by the name that PostgreSQL reports. */
const LABELS: Readonly<Record<string, string>> = {
  BIG5: "big5",
  EUC_CN: "gbk",
  EUC_JP: "euc-jp",
  EUC_KR: "euc-kr",
  GB18030: "gb18030",
  GBK: "gbk",
  ISO_8859_5: "iso-8859-5",
  ISO_8859_6: "iso-8859-6",
  ISO_8859_7: "iso-8859-7",
  ISO_8859_8: "iso-8859-8",
  KOI8R: "koi8-r",
  KOI8U: "koi8-u",
  LATIN2: "iso-8859-2",
  LATIN3: "iso-8859-3",
  LATIN4: "iso-8859-4",
  LATIN5: "iso-8859-9",
  LATIN6: "iso-8859-10",
  LATIN7: "iso-8859-13",
  LATIN8: "iso-8859-14",
  LATIN9: "iso-8859-15",
  LATIN10: "iso-8859-16",
  SJIS: "shift_jis",
  UHC: "euc-kr",
  WIN866: "ibm866",
  WIN874: "windows-874",
  WIN1250: "windows-1250",
  WIN1251: "windows-1251",
  WIN1252: "windows-1252",
  WIN1253: "windows-1253",
  WIN1254: "windows-1254",
  WIN1255: "windows-1255",
  WIN1256: "windows-1256",
  WIN1257: "windows-1257",
  WIN1258: "windows-1258",
};

/**
 * How texts are read while `client_encoding` is `encoding`; as UTF-8 where that is not known, or
 * where the server converts nothing (`SQL_ASCII`).
 */
export function textReaderOf(encoding: string | undefined): TextReader {
  // For a TextDecoder that is another name of windows-1252.
  if (encoding === "LATIN1") return readLatin1;
  const label = encoding === undefined || !Object.hasOwn(LABELS, encoding)
    ? undefined
    : LABELS[encoding];
  if (label === undefined) return decodeText;
  return (buffer, start, end) => new TextDecoder(label).decode(buffer.subarray(start, end));
}

function readLatin1(buffer: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(buffer[i]!);
  return text;
}
