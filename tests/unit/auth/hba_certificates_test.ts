/** What lines of HBA rules may say of client certificates; words as PostgreSQL's. */

import assert from "node:assert/strict";
import { hbaOf } from "../../support/memory_rules.ts";

Deno.test("readHbaFile() reads method cert, its map, and clientcert of any method", async () => {
  const { errors, rules } = await hbaOf(`hostssl all all all cert
hostssl all all all cert map=staff clientname=CN clientcert=verify-full
hostssl all all all md5 clientcert=verify-ca
hostssl all all all trust clientcert=verify-full
host all all all md5
`);
  assert.deepEqual(errors, []);
  assert.deepEqual(rules.rules.map(({ clientCert, method }) => [method, clientCert]), [
    [{ kind: "cert", map: undefined }, undefined],
    [{ kind: "cert", map: "staff" }, undefined],
    [{ kind: "md5" }, "verify-ca"],
    [{ kind: "trust" }, "verify-full"],
    [{ kind: "md5" }, undefined],
  ]);
});

const BAD: readonly (readonly [line: string, message: string])[] = [
  ["host all all all cert", "cert authentication is only supported on hostssl connections"],
  ["local all all cert", "cert authentication is only supported on hostssl connections"],
  ["host all all all md5 clientcert=verify-ca", '"clientcert" can only be configured for'],
  ["hostnossl all all all md5 clientcert=verify-ca", '"clientcert" can only be configured for'],
  ["host all all all md5 clientname=CN", '"clientname" can only be configured for'],
  ["hostssl all all all md5 clientcert=1", 'Invalid value for clientcert: "1"'],
  ["hostssl all all all md5 clientcert=no-verify", 'Invalid value for clientcert: "no-verify"'],
  ["hostssl all all all cert clientcert=verify-ca", 'clientcert only accepts "verify-full" when'],
  ["hostssl all all all cert clientname=DN", 'Option "clientname=DN" is not supported'],
  ["hostssl all all all cert clientname=UID", 'Invalid value for clientname: "UID"'],
  ["hostssl all all all md5 map=m", 'Option "map" goes with peer and cert, not with md5'],
  ["hostssl all all all cert what=ever", 'Unknown authentication option "what"'],
];

for (const [line, message] of BAD) {
  Deno.test(`readHbaFile() refuses ${line}`, async () => {
    const { errors } = await hbaOf(line);
    assert.equal(errors.length, 1);
    assert.ok(errors[0]?.message.startsWith(message), `${errors[0]}`);
  });
}
