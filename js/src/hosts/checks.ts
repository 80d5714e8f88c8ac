// anywidget host of the checks panel.

import { ChecksView } from '../parts/checks';
import { follow, type RenderContext } from './model';

export default {
  render({ model, el }: RenderContext): () => void {
    const view = new ChecksView(el);
    const unfollow = follow(model, 'checks', (checks) => view.show(checks ?? []));
    return () => {
      unfollow();
      view.dispose();
    };
  },
};
