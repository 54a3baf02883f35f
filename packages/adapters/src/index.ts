export {
  type DataFormat,
  importDataset,
  type ImportedDataset,
  type ImportOptions,
  type ImportProgress,
  type PutBlock,
  readDataset,
} from './data/import.ts';
