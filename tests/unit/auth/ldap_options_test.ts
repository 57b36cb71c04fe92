/** Options of LDAP: which are taken, what they mean, and with what words they are refused. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { entryNameOf, isFitForLdap, userFilterOf } from "../../../src/auth/ldap_names.ts";
import { hideValue } from "../../../src/base/hidden_value.ts";
import {
  LDAP_SECRET_OPTION,
  type LdapOptions,
  parseLdapOptions,
} from "../../../src/auth/ldap_options.ts";
import { ldapText } from "../../../src/app/login_rules.ts";
import { hbaOf } from "../../support/memory_rules.ts";

/** Options and what they are understood as. */
const TAKEN: readonly (readonly [text: string, meaning: string])[] = [
  [
    'ldapserver=ldap.example.net ldapprefix="cn=" ldapsuffix=", dc=example, dc=net"',
    "ldap://ldap.example.net:389, bind as cn=$username, dc=example, dc=net",
  ],
  [
    "ldapserver=a ldapbasedn=dc=example",
    'ldap://a:389, search (uid=$username) in "dc=example" (sub)',
  ],
  [
    'ldapserver="a b  [::1] fe80::1" ldapport=3389 ldapprefix=EXAMPLE\\',
    "ldap://a:3389 ldap://b:3389 ldap://[::1]:3389 ldap://[fe80::1]:3389, bind as EXAMPLE\\$username",
  ],
  [
    'ldapserver=a,ldapbasedn="dc=a,dc=b", ldapsearchattribute=sAMAccountName',
    'ldap://a:389, search (sAMAccountName=$username) in "dc=a,dc=b" (sub)',
  ],
  [
    'ldapserver=a ldapbasedn="" "ldapsearchfilter"="(|(uid=$username)(mail=$username))"',
    'ldap://a:389, search (|(uid=$username)(mail=$username)) in "" (sub)',
  ],
  ["ldapserver=a ldapsuffix=@x ldapscheme=ldaps", "ldaps://a:636, bind as $username@x"],
  ["ldapserver=a ldapsuffix=@x ldaptls=1", "ldap://a:389 by StartTLS, bind as $username@x"],
  ["ldapserver=a ldapsuffix=@x ldaptls=0", "ldap://a:389, bind as $username@x"],
  [
    'ldapurl="ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub"',
    'ldap://127.0.0.1:12345, search (uid=$username) in "dc=example,dc=net" (sub)',
  ],
  [
    'ldapurl="LDAPS://[::1]/ou=a%20b?cn,uid?one"',
    'ldaps://[::1]:636, search (cn=$username) in "ou=a b" (one)',
  ],
  [
    'ldapurl="ldap://h/dc=x???(cn=$username)"',
    'ldap://h:389, search (cn=$username) in "dc=x" (base)',
  ],
  [
    'ldapurl="ldap://h/dc=x??sub" ldaptls=1 ldapport=1',
    'ldap://h:1 by StartTLS, search (uid=$username) in "dc=x" (sub)',
  ],
  [
    "ldapurl=ldap:///dc=x??sub ldapserver=h",
    'ldap://h:389, search (uid=$username) in "dc=x" (sub)',
  ],
];

for (const [text, meaning] of TAKEN) {
  Deno.test(`parseLdapOptions() understands ${text}`, () => {
    assert.equal(ldapText(parseLdapOptions(text)), meaning);
  });
}

const NEEDS =
  /^authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix"/;
const MIXED = /^cannot mix options for simple bind and search\+bind modes$/;

const REFUSED: readonly (readonly [text: string, why: RegExp])[] = [
  ["ldapserver=a", NEEDS],
  ["ldapprefix=cn=", /^ldapserver is not set; /],
  ["ldapbasedn=dc=x", /^ldapserver is not set; /],
  ["ldapserver=a ldapprefix=cn= ldapbasedn=dc=x", MIXED],
  ["ldapserver=a ldapsuffix=@x ldapbinddn=dc=x", MIXED],
  ["ldapserver=a ldapsuffix=@x ldapbindpasswd=x", MIXED],
  ["ldapserver=a ldapsuffix=@x ldapsearchattribute=uid", MIXED],
  ["ldapserver=a ldapsuffix=@x ldapsearchfilter=(uid=$username)", MIXED],
  ["ldapsuffix=@x ldapurl=ldap://a", MIXED],
  [
    "ldapserver=a ldapbasedn=dc=x ldapsearchattribute=uid ldapsearchfilter=(uid=$username)",
    /^cannot use ldapsearchattribute together with ldapsearchfilter$/,
  ],
  ["ldapserver=a ldapbasedn=dc=x ldapbinddn=cn=x", /^ldapbinddn and ldapbindpasswd go together$/],
  ["ldapserver=a ldapbasedn=dc=x ldapbindpasswd=x", /^ldapbinddn and ldapbindpasswd go together$/],
  ["ldapserver=a ldapbasedn=dc=x ldapsearchattribute=u)d", /^invalid ldapsearchattribute: "u\)d"$/],
  ["ldapserver=a ldapbasedn=dc=x ldapsearchfilter=uid=$username", /^invalid ldapsearchfilter: /],
  ["ldapserver=a ldapbasedn=dc=x ldapsearchfilter=(a=$username)(b=1)", /^invalid ldapsearchfilter/],
  ["ldapserver=a ldapbasedn=dc=x ldapsearchfilter=((a=$username)", /^invalid ldapsearchfilter/],
  [
    "ldapserver=a ldapbasedn=dc=x ldapsearchfilter=(uid=x)",
    /^ldapsearchfilter has no \$username: /,
  ],
  ["ldapserver=a ldapsuffix=@x ldapport=0", /^invalid LDAP port number: "0"$/],
  ["ldapserver=a ldapsuffix=@x ldapport=abc", /^invalid LDAP port number: "abc"$/],
  ["ldapserver=a ldapsuffix=@x ldapport=65536", /^invalid LDAP port number: "65536"$/],
  ["ldapserver=a ldapsuffix=@x ldapscheme=ldapi", /^invalid ldapscheme value: "ldapi"$/],
  ["ldapserver=a ldapsuffix=@x ldaptls=yes", /^invalid ldaptls value: "yes"$/],
  [
    "ldapserver=a ldapsuffix=@x ldapscheme=ldaps ldaptls=1",
    /^cannot use ldaptls together with ldaps/,
  ],
  ["ldapserver=a:389 ldapsuffix=@x", /^"a:389" is no host of ldapserver: /],
  ["ldapserver=a ldapfoo=x", /^Unknown option of LDAP: "ldapfoo"$/],
  ["ldapserver=a secret words", /^Option 2 is not name=value$/],
  ['ldapserver=a ldapsuffix="@x', /^Option 2 is not name=value$/],
  ["ldapurl=http://a/dc=x", /^could not parse LDAP URL "http:\/\/a\/dc=x": expected ldap/],
  ["ldapurl=ldap://me@a/dc=x", /^could not parse LDAP URL /],
  ["ldapurl=ldap://a:b/dc=x", /^could not parse LDAP URL .*"a:b" is no host$/],
  ["ldapurl=ldap://a/dc=%zz", /^could not parse LDAP URL .*"dc=%zz" is not well encoded$/],
  ["ldapurl=ldap://a/dc=x??tree", /^invalid scope in ldapurl: "tree"$/],
  ["ldapurl=ldap://a/dc=x??sub??!bindname=x", /^could not parse LDAP URL .*extensions/],
];

for (const [text, why] of REFUSED) {
  Deno.test(`parseLdapOptions() refuses ${text}`, () => {
    assert.throws(() => parseLdapOptions(text), { name: "RuleError", message: why });
  });
}

Deno.test("a line of LDAP tells nothing of its password, whatever is wrong", async () => {
  for (const password of ["a,hunter", "a hunter2", "a hunter=2"]) {
    const { errors } = await hbaOf(`local all all ldap ldapserver=a ldapbindpasswd=${password}\n`);
    assert.equal(errors.length, 1);
    assert.equal(errors.join().includes("hunter"), false, errors.join());
  }
});

Deno.test("parseLdapOptions() tells nothing of the password, whatever is wrong", () => {
  for (const rest of ["", " b=", " ldapport=0", ' "', " hunter2", " hunter=", ", hunter2=x"]) {
    const text = `ldapserver=a ldapbasedn=x ldapbindpasswd="hunter2, hunter2"${rest}`;
    assert.throws(() => parseLdapOptions(text), (error) => !`${error}`.includes("hunter"), rest);
  }
});

Deno.test("a user's name stays a value in the names and filters that it becomes a part of", () => {
  const simple = (prefix: string, suffix: string) => ({ kind: "simple", prefix, suffix } as const);
  for (
    const [user, expected] of [
      ["ada", "cn=ada,dc=x"],
      ["a,dc=b", "cn=a\\,dc=b,dc=x"],
      ['a+b"c<d>e;f\\g', 'cn=a\\+b\\"c\\<d\\>e\\;f\\\\g,dc=x'],
      [" a ", "cn=\\ a\\ ,dc=x"],
      [" ", "cn=\\ ,dc=x"],
      ["#a#", "cn=\\#a#,dc=x"],
    ] as const
  ) {
    assert.equal(entryNameOf(simple("cn=", ",dc=x"), user), expected);
  }
  assert.equal(entryNameOf(simple("EXAMPLE\\", ""), "a,b"), "EXAMPLE\\a,b");
  assert.equal(
    userFilterOf("(|(uid=$username)(mail=$username))", "a*)(\\\0$&"),
    "(|(uid=a\\2a\\29\\28\\5c\\00$&)(mail=a\\2a\\29\\28\\5c\\00$&))",
  );
});

Deno.test("names that mean something to a directory are not asked for", () => {
  for (const user of ["*", "a(", "a)", "a\\", "a/b", "a\nb", "\x7f", "", "x".repeat(128)]) {
    assert.equal(isFitForLdap(user, "search"), false, user);
  }
  for (const user of ["ada", "ada.l-1_x@example.net", "äda", "a,b", "x".repeat(127)]) {
    assert.equal(isFitForLdap(user, "search"), true, user);
  }
  assert.equal(isFitForLdap("a\nb", "simple"), false);
  assert.equal(isFitForLdap("*", "simple"), true);
});

Deno.test("options with a password do not show it when printed", () => {
  const options: LdapOptions = parseLdapOptions(
    "ldapserver=a ldapbasedn=x ldapbinddn=cn=s ldapbindpasswd=hunter2",
  );
  assert.equal(JSON.stringify(options).includes("hunter2"), false);
  assert.equal(Deno.inspect(options).includes("hunter2"), false);
});

Deno.test("a password is hidden wherever it can stand, in options and in lines", async () => {
  const password = fc.stringMatching(/^[a-z"=, #\\]{0,6}$/).map((text) => `${text}hunter2`);
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const forms: readonly ((password: string) => string)[] = [
    (text) => `ldapbindpasswd=${quoted(text)}`,
    (text) => quoted(`ldapbindpasswd=${text}`),
    (text) => `"ldapbindpasswd"=${quoted(text)}`,
    (text) => `ldapbindpasswd=${text.replaceAll(/[", #\\]/g, "")}`,
  ];
  const others = ["ldapserver=a", 'ldapbasedn="dc=x, dc=y"', '"ldapbinddn=cn=s, x"'];
  await fc.assert(
    fc.asyncProperty(
      password,
      fc.constantFrom(...forms),
      fc.shuffledSubarray(others, { minLength: 3 }),
      fc.nat(3),
      async (secret, form, rest, at) => {
        const text = rest.toSpliced(at, 0, form(secret)).join(" ");
        assert.equal(hideValue(LDAP_SECRET_OPTION, text).includes("hunter2"), false, text);
        const { rules } = await hbaOf(`host all all all ldap ${text}\n`);
        for (const rule of rules.rules) assert.equal(rule.text.includes("hunter2"), false, text);
      },
    ),
    { numRuns: 500 },
  );
});
