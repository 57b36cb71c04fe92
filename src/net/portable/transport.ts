/** What a stream of the portable engine reads and writes: a connection of Deno's, or TLS over one. */

/** As `Deno.Conn` has it, which is one. */
export interface Transport extends Disposable {
  /** How many bytes came into `buffer`; `null` at the end. One read at a time. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** How many bytes were taken, at least one. One write at a time. */
  write(bytes: Uint8Array): Promise<number>;
  /** Sends the end after what was written. */
  closeWrite(): Promise<void>;
}
