// anywidget host of the status line. It also mends the accessibility of its neighbours in the same explorer.

import { mendNeighbours, withExplorer } from '../core/accessible';
import { StatusView } from '../core/status';
import { follow, type RenderContext } from './model';

export default {
  render({ model, el }: RenderContext): () => void {
    const view = new StatusView(el, () => model.send({ type: 'stop' }));
    const unfollow = follow(model, 'status', (status) => view.show(status ?? {}));
    const unmend = withExplorer(el, mendNeighbours);
    return () => {
      unfollow();
      unmend();
      view.dispose();
    };
  },
};
