// anywidget host of the status line. It also mends the accessibility of its neighbours in the same explorer.

import { mendNeighbours, withExplorer } from '../core/accessible';
import { StatusView } from '../parts/status';
import { follow, type RenderContext } from './model';

export default {
  render({ model, el }: RenderContext): () => void {
    const view = new StatusView(el, () => model.send({ type: 'stop' }));
    const unfollow = follow(model, 'status', (status) => view.show(status ?? {}));
    const unmend = withExplorer(el, (explorer) => {
      model.set('keeps', explorer.closest('.lwidgets-output') !== null); // see js/labextension/src/output.ts
      model.save_changes();
      return mendNeighbours(explorer);
    });
    return () => {
      unfollow();
      unmend();
      view.dispose();
    };
  },
};
