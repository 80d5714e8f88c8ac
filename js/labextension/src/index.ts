// What needs the application; the renderers that do not are in mime.ts.

import { commands } from './commands';
import { output } from './output';

export default [output, commands];
