// Page host of a companion with the very widgets of the notebook.

import { notebookMakers } from './notebook';
import { start, whenParsed } from './start';

whenParsed(() => start(notebookMakers));
