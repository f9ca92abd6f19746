// `npm start`: set-up, then `plug quickstart` with the arguments passed on.
// The command runs inside this process, so that Ctrl-C and the exit status need no passing on.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setup } from './setup.mjs';
import { ROOT, runScript } from './steps.mjs';

await runScript(setup);
const plug = join(ROOT, 'packages', 'plug', 'bin', 'plug.js');
process.argv = [process.execPath, plug, 'quickstart', ...process.argv.slice(2)];
await import(pathToFileURL(plug).href);
