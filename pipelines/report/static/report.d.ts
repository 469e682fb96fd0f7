// The elements of index.html that have an id, and what the scripts of the report share.

interface Elements {
  "card-template": HTMLTemplateElement;
  "chart-template": HTMLTemplateElement;
  "panel-template": HTMLTemplateElement;
  ask: HTMLButtonElement;
  charts: HTMLElement;
  clear: HTMLButtonElement;
  detail: HTMLDialogElement;
  direction: HTMLButtonElement;
  facets: HTMLElement;
  grid: HTMLElement;
  help: HTMLDialogElement;
  opacity: HTMLInputElement;
  order: HTMLSelectElement;
  overlay: HTMLInputElement;
  overview: HTMLElement;
  scroll: HTMLElement;
  search: HTMLInputElement;
  status: HTMLOutputElement;
  tags: HTMLInputElement;
}

interface Possam {
  page: (number: number, pictures: (Picture | null)[]) => void;
}

// The bin of each row, and how many matching rows each bin holds.
interface BinCounts {
  binOf: Uint8Array;
  counts: Uint32Array;
}

interface Bins extends BinCounts {
  low: number;
  width: number;
  all: Uint32Array;
  numMissing: number; // labelled images without the measure
}

interface Chart {
  figure: HTMLElement;
  plot: PlotElement;
  measure: Measure;
  bins: Bins;
  isWired: boolean;
}

interface Filters {
  search: string;
  facets: Map<string, Set<number>>;
  ranges: Map<string, Interval>;
}

type Interval = [low: number, high: number];

interface Result {
  rows: Uint32Array;
  facetCounts: Map<string, Uint32Array>;
  bins: Map<string, BinCounts>;
}
