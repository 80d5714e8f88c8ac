// The notebooks to begin with, as nbformat has them.

type Cell = ['markdown' | 'code', string];

const DEMO: Cell[] = [
  [
    'markdown',
    '# A loss landscape\n\n' +
      'Two small networks, trained in seconds on the digits of scikit-learn. Run all cells, then drag the sliders.\n\n' +
      'Your own model, data and loss: `objective = lw.Objective(model, (X, y), loss=F.cross_entropy)`.',
  ],
  ['code', 'import lwidgets as lw\n\nobjective, a, b = lw.demo.digits()'],
  ['markdown', 'A plane around one of them:'],
  ['code', 'lw.SurfaceExplorer(objective)'],
  ['markdown', 'The line from one to the other:'],
  ['code', 'lw.CurveExplorer(objective, a, b)'],
];

export function demoNotebook(kernelspec: object): object {
  return notebook(DEMO, kernelspec);
}

/** A notebook around a checkpoint that lies in its own folder. The name comes from a stranger's disk: it is only ever a literal. */
export function checkpointNotebook(name: string, kernelspec: object): object {
  const cells: Cell[] = [
    [
      'markdown',
      '# The loss landscape around a checkpoint\n\n' +
        'The file holds weights, and these are their names and shapes. The network that they belong to, its data and its loss are yours to put in below; ' +
        'the demo stands in for them. Nothing in the file is executed.',
    ],
    [
      'code',
      // Every JSON string is a Python string literal of the same value.
      `import lwidgets as lw\n\ncheckpoint = ${JSON.stringify(name)}\n` +
        '{name: tuple(tensor.shape) for name, tensor in lw.State.of(checkpoint).parameters.items()}',
    ],
    [
      'code',
      'objective, *_ = lw.demo.digits()\n' +
        '# from torch.nn import functional as F\n' +
        '# objective = lw.Objective(model, (X, y), loss=F.cross_entropy, metrics={"error": lw.metrics.error})',
    ],
    ['code', 'lw.SurfaceExplorer(objective, checkpoint)'],
  ];
  return notebook(cells, kernelspec);
}

function notebook(cells: Cell[], kernelspec: object): object {
  const common = (k: number) => ({ id: `lwidgets-${k}`, metadata: {} });
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec },
    cells: cells.map(([cell_type, source], k) =>
      cell_type === 'code'
        ? { ...common(k), cell_type, source, execution_count: null, outputs: [] }
        : { ...common(k), cell_type, source },
    ),
  };
}
