/** Columns as a RowDescription gives them, from their names and types. */

const TYPES: Readonly<Record<string, string>> = {
  text: "25:-1",
  int4: "23:4",
  int8: "20:8",
  numeric: "1700:-1",
};

/** Columns as `name:oid:size`; each group begins with its type. */
export function columns(...groups: readonly string[]): string[] {
  return groups.flatMap((group) => {
    const [type = "", ...names] = group.split(" ");
    return names.map((name) => `${name}:${TYPES[type]}`);
  });
}

/** What SHOW CLIENTS, SERVERS and SOCKETS have in common. */
export const SOCKET_COLUMNS: readonly string[] = columns(
  "text type user database replication state addr",
  "int4 port",
  "text local_addr",
  "int4 local_port",
  "text connect_time request_time",
  "int4 wait wait_us close_needed",
  "text ptr link",
  "int4 remote_pid",
  "text tls application_name",
  "int4 prepared_statements id",
);
