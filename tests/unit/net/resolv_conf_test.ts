import assert from "node:assert/strict";
import { candidateNames, readResolvConf } from "../../../src/net/resolv_conf.ts";

Deno.test("resolv.conf names servers, domains and options; what else is in it is passed over", () => {
  const conf = readResolvConf(`# comment
; another
nameserver 192.0.2.1
  nameserver\t2001:db8::1
nameserver not-an-address
nameserver 192.0.2.3
nameserver 192.0.2.4
domain old.example
search a.example. b.example
options ndots:2 rotate timeout:3 attempts:99 edns0
sortlist 130.155.160.0/255.255.240.0
`);
  assert.deepEqual(conf, {
    nameServers: ["192.0.2.1", "2001:db8::1", "192.0.2.3"],
    search: ["a.example", "b.example"],
    minDots: 2,
    timeoutMs: 3_000,
    attempts: 5,
  });
});

Deno.test("an empty resolv.conf means the name server of this machine", () => {
  assert.deepEqual(readResolvConf(""), {
    nameServers: ["127.0.0.1"],
    search: [],
    minDots: 1,
    timeoutMs: 5_000,
    attempts: 2,
  });
});

Deno.test("names with few dots are tried in the domains of the search list first", () => {
  const conf = { search: ["a.example", "b.example"], minDots: 1 };
  assert.deepEqual(candidateNames("db", conf), ["db.a.example", "db.b.example", "db"]);
  assert.deepEqual(candidateNames("db.c", conf), ["db.c", "db.c.a.example", "db.c.b.example"]);
  assert.deepEqual(candidateNames("db.", conf), ["db."]);
});
