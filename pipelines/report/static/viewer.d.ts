// The data that pipelines/report/viewer.py writes, and the types that columns.js makes of it.

type Kind = "share" | "count" | "percent"; // in [0, 1]; whole; in [0, 100]

interface Measure {
  key: string;
  label: string;
  kind: Kind;
  if_missing: string; // shown for a labelled image without it; "": it is not shown then
}

interface FacetHead {
  key: string;
  label: string;
  names: string[];
  is_ordered: boolean;
}

interface Order {
  label: string;
  by: [key: string, sign: number][];
}

interface TableContent {
  title: string;
  columns: string[];
  rows: string[][];
}

interface ErrorSummary {
  code: string;
  count: number;
  samples: [name: string, message: string][];
}

type Fact = [name: string, value: string];

interface Head {
  title: string;
  subtitle: string;
  base: string;
  measures: Measure[];
  facets: FacetHead[];
  orders: Order[];
  charts: string[];
  badges: string[];
  facts: [key: string, phrase: string][];
  chips: string;
  panels: string[];
  totals: Fact[];
  bar: [name: string, count: number][];
  notes: string[];
  tables: TableContent[];
  errors: ErrorSummary[];
  provenance: Fact[];
  pictures: number[];
  num_rows: number;
  num_index_files: number;
  page_size: number;
}

interface RowBlock {
  names: string[];
  measures: Record<string, (number | null)[]>;
  facets: Record<string, { counts: number[]; values: number[] }>;
  messages: Record<string, string[]>;
}

type Segment = [id: number, name: string, score: number, colour: string, isThing: boolean];

interface Layer {
  overlay: string | null;
  tags: [x: number, y: number, text: string][];
  segments: Segment[];
}

interface Picture {
  ratio: number;
  photo: string | null;
  layers: Layer[];
}

// A facet of all rows: those of row i are values[starts[i]] to values[starts[i + 1] - 1].
interface Facet extends FacetHead {
  starts: Uint32Array;
  values: number[];
}

interface Table {
  head: Head;
  numRows: number;
  names: string[];
  measures: Record<string, Float64Array>;
  facets: Record<string, Facet>;
  messages: Map<number, string[]>;
  picture: Int32Array; // the place of each row's picture
}

// The functions that the files in data/ call; each HTML page defines its own.
interface Possam {
  head: (head: Head) => void;
  rows: (blocks: RowBlock[]) => void;
}

interface PlotElement extends HTMLElement {
  on(event: string, whenItHappens: (event?: { range?: { x?: (number | string)[] } }) => void): void;
}

interface Window {
  Plotly?: { react(plot: HTMLElement, data: object[], layout: object, config: object): void };
}
