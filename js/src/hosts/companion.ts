// Page host of a companion: our own views and native controls.

import { start, whenParsed } from './start';

whenParsed(() => start());
