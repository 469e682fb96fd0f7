// The data that pipelines/evaluate/page.py writes, and the elements of index.html that have an id.

interface Elements {
  "card-template": HTMLTemplateElement;
  "class-count": HTMLOutputElement;
  "class-search": HTMLInputElement;
  "class-table": HTMLTableElement;
  "only-mistakes": HTMLInputElement;
  "panel-template": HTMLTemplateElement;
  "worst-note": HTMLElement;
  cards: HTMLElement;
  confusion: HTMLElement;
  curves: HTMLElement;
  figures: HTMLElement;
  grades: HTMLElement;
  heat: HTMLElement;
  opacity: HTMLInputElement;
  overlay: HTMLInputElement;
  tags: HTMLInputElement;
  taken: HTMLTableElement;
  unmatched: HTMLTableElement;
}

// Shares are in [0, 1]; null: there is nothing to measure.
type Share = number | null;

interface Quality {
  pq: number;
  sq: number;
  rq: number;
  num_classes: number;
}

interface ClassRecord {
  id: number;
  name: string;
  kind: "thing" | "stuff";
  seen: boolean | null;
  pq: Share;
  sq: Share;
  rq: Share;
  tp: number;
  fp: number;
  fn: number;
  iou?: Share; // of a model only, as AP
  ap?: Share;
}

interface Bin {
  low: number;
  high: number;
  num: number;
  claimed: number;
  found: number;
}

interface GradeRecord {
  grade: string;
  num_images: number;
  quality: Quality;
  image_pq: Share;
  expected_pq: Share;
}

// True class, predicted class, number; null: nothing overlaps it.
type Mistake = [truth: string | null, guess: string | null, num: number];

interface WorstImage {
  name: string;
  pq: Share;
  grade: string | null; // null: without labels
  expected_pq: Share;
}

interface EvaluationRecord {
  run?: string; // a run, or else a model
  num_errors?: number;
  num_without_truth?: number;
  num_without_row?: number;
  model: { name: string; sha256: string };
  data: {
    source?: string;
    limit?: number | null;
    world?: string;
    num_scenes?: number | null;
    scene_seed?: number;
    annotations: string | null;
    images: string | null;
  };
  vocabulary: { name: string; sha256: string; num_classes: number };
  num_images: number;
  panoptic: Record<string, Quality>;
  semantic?: Record<string, { miou: Share }>;
  instances?: Record<string, Share>;
  classes: ClassRecord[];
  calibration?: { temperature: number; expected_pq: object | null };
  reliability: Record<string, { ece: Share; bins: Bin[] }>;
  grades: GradeRecord[];
  uncalibrated: string | null; // why the grades promise nothing here; null: they do
  segment_pairs: { true: string | null; predicted: string | null; num: number }[];
  claims: Record<string, string>;
  mistakes: Mistake[];
  worst: WorstImage[];
}

interface PairPicture extends Picture {
  mistakes: Mistake[];
}

interface Possam {
  evaluation: (record: EvaluationRecord) => void;
  pictures: (first: number, pictures: PairPicture[]) => void;
}

interface ClassColumn {
  key: keyof ClassRecord;
  label: string;
  isShare?: boolean;
  text?: (value: unknown) => string;
}
