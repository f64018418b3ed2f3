// Khronos' glTF validator on one file: prints its report as JSON, fails if there are errors.
// GLTF_VALIDATOR is the folder in which `npm install gltf-validator` was run.
// Usage: GLTF_VALIDATOR=folder node tests/validate_gltf.mjs model.glb
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.env.GLTF_VALIDATOR ?? "."), "package.json"));
const { validateBytes } = require("gltf-validator");

const report = await validateBytes(new Uint8Array(readFileSync(process.argv[2])));
console.log(JSON.stringify(report, null, 1));
process.exitCode = report.issues.numErrors > 0 ? 1 : 0;
