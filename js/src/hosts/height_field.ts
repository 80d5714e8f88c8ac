// anywidget host of the height field: traits in, camera and pinned point out.

import { HeightFieldView, type HeightFieldOptions } from '../core/height_field';
import { follow, type RenderContext } from './model';

/** Trait of the Python class -> option of the view. */
const OPTIONS: [string, keyof HeightFieldOptions][] = [
  ['description', 'description'],
  ['panes', 'panes'],
  ['camera', 'camera'],
  ['point', 'point'],
  ['show_points', 'showPoints'],
  ['contours', 'contours'],
  ['markers', 'markers'],
  ['paths', 'paths'],
];

export default {
  render({ model, el }: RenderContext): () => void {
    const view = new HeightFieldView(el, {
      camera: (orbit) => {
        model.set('camera', orbit);
        model.save_changes();
      },
      point: (point) => {
        model.set('point', point);
        model.save_changes();
      },
    });
    const stops = OPTIONS.map(([trait, option]) => follow(model, trait, (value) => view.set({ [option]: value })));
    stops.push(follow(model, 'frame', (frame) => view.setFrame(frame)));
    return () => {
      for (const stop of stops) stop();
      view.dispose();
    };
  },
};
