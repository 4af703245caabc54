#!/usr/bin/env bash
# Everything behind docs/benchmarks.md: small encoders, then ProNAB, JASPAR, contacts, the attention
# probe, gene-protein CLIP, GUE, TAPE, labels of residues and contact maps. A step that is done is
# passed over, so the same command goes on after an interruption; steps that do not need each other
# can run at once.
# Use: BIOTE_DATA=DIR OMP_NUM_THREADS=1 benchmarks/run_all.sh OUTPUT [STEP ...]
set -euo pipefail

data=${BIOTE_DATA:?a folder with genbank/, fasta/, pronab/ and so on}
mkdir -p "${1:?a folder to write to}"
cd "$1"
shift
steps=${*:-corpora encoders splits pronab pronab_cluster pronab_paper pronab_rows control jaspar \
  scan contacts painted probe clip gue tape bpe residues maps tables}

once() { # once FILE COMMAND...: run the command unless it has left its file
  local file=$1
  shift
  [ -e "$file" ] || "$@"
}

corpora() {
  once corpora/nucleic/corpus.json biote prepare "$data/genbank" \
    "$data/fasta/metagenomics_dna.fasta.gz" --output corpora/nucleic --validation-fraction 0.02
  once corpora/protein/corpus.json biote prepare "$data"/fasta/UP*.fasta.gz \
    "$data"/fasta/prokka_*.faa.gz "$data/fasta/uniref90_esm2_train.parquet" \
    --output corpora/protein --validation-fraction 0.02
}

pretrain() { # pretrain NAME TOKENS [OPTION ...]
  local name=$1 tokens=$2
  shift 2
  once "encoders/$name/encoder" biote fit --config learning.yaml --model.encoder.width 64 \
    --model.encoder.heads 2 --model.encoder.context 512 --data.context 512 \
    --data.tokens_per_step 8192 --data.tokens "$tokens" \
    --trainer.val_check_interval 300 \
    --trainer.default_root_dir "encoders/$name" --ckpt_path auto "$@"
}

encoders() { # the two controls together read what the mixed encoder reads
  pretrain mixed 30000000
  pretrain nucleic 15000000 --data.corpora '[{folder: corpora/nucleic}]'
  pretrain protein 15000000 --data.corpora '[{folder: corpora/protein}]'
}

crossval() { # crossval NAME OPTION...
  local name=$1
  shift
  once "runs/$name/crossval.parquet" biote crossval --output "runs/$name" "$@"
}

mixed="--model.encoder_checkpoint encoders/mixed/encoder"

pronab() {
  crossval pronab --config benchmark/pronab_quick.yaml --data.root "$data" $mixed \
    --data.fold_file folds/protein.parquet
}

pronab_cluster() {
  crossval pronab_cluster --config benchmark/pronab_quick.yaml --data.root "$data" $mixed \
    --data.rule cluster --data.fold_file folds/cluster.parquet
}

pronab_paper() {
  crossval pronab_paper --config benchmark/pronab_quick.yaml --data.root "$data" $mixed \
    --data.rule paper --data.fold_file folds/paper.parquet
}

control() {
  crossval pronab_control --config benchmark/pronab_quick.yaml --data.root "$data" \
    --data.fold_file folds/protein.parquet \
    --model.encoder_checkpoint encoders/protein/encoder \
    --model.nucleic_encoder.encoder_checkpoint encoders/nucleic/encoder
}

jaspar() {
  once runs/jaspar/results.parquet biote specificity --crossval runs/pronab \
    --config benchmark/jaspar_quick.yaml --data.root "$data" --data.trained_on "$data" \
    --data.scores_file folds/jaspar_scores.parquet --output runs/jaspar
}

splits() { # the folds of ProNAB by all three rules
  local rule
  for rule in protein paper cluster; do
    once "folds/$rule.parquet" biote splits make "$data" --rule "$rule" --duplicates median \
      --output "folds/$rule.parquet"
  done
  once runs/splits.png biote splits plot folds/protein.parquet folds/paper.parquet \
    folds/cluster.parquet --output runs/splits.png
}

scan() { # GCN4 of yeast on its site
  gzip -dc "$data/fasta/UP000002311_559292.fasta.gz" | awk '/^>/ {p = /GCN4_YEAST/} p' > gcn4.fasta
  once runs/scan/scan.parquet biote scan --checkpoint runs/pronab/fold-*/checkpoints/best.ckpt \
    --protein gcn4.fasta --profile MA0303 --jaspar "$data" --output runs/scan
}

pronab_rows() { # all rows, for repeated measurements and rows that agree with their Kd
  crossval pronab_rows --config benchmark/pronab_quick.yaml --data.root "$data" $mixed \
    --data.duplicates keep --data.folds 3 --data.fold_file folds/rows.parquet
}

contacts() {
  once contacts.parquet biote corpus contacts "$data/structures" --output contacts.parquet
  crossval contacts --config benchmark/contacts_quick.yaml --data.root contacts.parquet $mixed \
    --data.rule cluster --data.fold_file folds/contacts.parquet
}

painted() { # predictions of the first protein of the first fold, on its structure
  once runs/painted.cif biote corpus paint "$data/structures/complexes/dna/1AZP.pdb.gz" \
    runs/contacts/fold-0/predictions.parquet --id 1AZP --where output=0 \
    --where "model=pre-trained encoder" --output runs/painted.cif
}

tune() { # tune NAME [OPTION ...]: an encoder tuned on Delta G, no row held out
  local name=$1
  shift
  once "runs/$name/encoder" biote fit --config benchmark/pronab_quick.yaml --data.root "$data" \
    $mixed --data.fold null --trainer.default_root_dir "runs/$name" --ckpt_path auto "$@"
}

read_maps() { # read_maps NAME ENCODER
  crossval "probe_$1" --config benchmark/attention_probe_quick.yaml --data.root contacts.parquet \
    --data.rule cluster --data.fold_file folds/probe.parquet --model.encoder_checkpoint "$2"
}

probe() {
  tune tuned
  tune tuned_shuffled --data.ablation.kind shuffle-targets --data.ablation.trained true
  read_maps base encoders/mixed/encoder
  read_maps tuned runs/tuned/encoder
  read_maps tuned_shuffled runs/tuned_shuffled/encoder
  once runs/probe/comparison.parquet biote probe compare runs/probe_base runs/probe_tuned \
    runs/probe_tuned_shuffled --names base tuned "tuned on shuffled ΔG" \
    --exclude-similar-to "$data" --output runs/probe
}

clip() {
  once pairs.parquet biote corpus pairs "$data/genbank" --output pairs.parquet
  local split
  for split in random cluster; do
    for head in shared_map two_maps; do
      once "runs/clip_${split}_$head/results.parquet" align "clip_${split}_$head" "$split" \
        --model.head "head/$head.yaml" $mixed
      once "runs/clip_${split}_${head}_control/results.parquet" align \
        "clip_${split}_${head}_control" "$split" --model.head "head/$head.yaml" \
        --model.encoder_checkpoint encoders/nucleic/encoder \
        --model.protein_encoder_checkpoint encoders/protein/encoder
    done
  done
}

align() { # align NAME SPLIT OPTION...
  local name=$1 split=$2
  shift 2
  biote fit --config benchmark/clip_quick.yaml --data.root pairs.parquet --data.split "$split" \
    --data.context 512 \
    --data.split_file "folds/clip_$split.parquet" --model.states_folder states \
    --trainer.default_root_dir "runs/$name" --overwrite true "$@"
  biote test --config "runs/$name/config.yaml"
}

suite() { # suite NAME
  once "runs/$1/suite.csv" biote suite "$1" --encoder encoders/mixed/encoder --data "$data" --quick \
    --train-on-dev --output "runs/$1"
}

gue() { suite gue; }

tape() { suite tape; }

bpe() { # an encoder that reads pieces, for the same labels of residues
  once bpe/tokenizer biote tokenizer train "$data/genbank" "$data/fasta" --output bpe/tokenizer \
    --pieces 1024
  once bpe/protein/corpus.json biote prepare "$data"/fasta/UP*.fasta.gz \
    "$data"/fasta/prokka_*.faa.gz "$data/fasta/uniref90_esm2_train.parquet" \
    --tokenizer bpe/tokenizer --output bpe/protein --validation-fraction 0.02
  pretrain bpe 7500000 --data.corpora '[{folder: bpe/protein}]'
}

label() { # label NAME OPTION...
  local name=$1
  shift
  biote fit "$@" --trainer.default_root_dir "runs/$name" --overwrite true
  biote test --config "runs/$name/config.yaml"
}

residues() { # residues that bind DNA; states of residues, read as characters and as pieces
  once runs/dna_binding/results.parquet label dna_binding --config benchmark/dna_binding.yaml \
    --config trainer/quick.yaml --data.root "$data" --data.context 512 $mixed
  local encoder
  for encoder in protein bpe; do
    once "runs/ss8_$encoder/results.parquet" label "ss8_$encoder" \
      --config benchmark/residue_table.yaml \
      --data.root "$data/residue_labels/ss8_peft_sanity_dataset.parquet" \
      --data.sequence Sequence --data.label Secondary_structure \
      --data.classes '[G, H, I, B, E, S, T, "~"]' --data.fold_file folds/ss8.parquet \
      --data.context 512 --data.max_residues 510 --trainer.max_epochs 4 \
      --model.encoder_checkpoint "encoders/$encoder/encoder"
  done
}

maps() {
  once maps.parquet biote corpus maps "$data/structures/proteins" --output maps.parquet
  crossval maps --config benchmark/tape_contacts_quick.yaml --data.root maps.parquet $mixed \
    --data.name protein_contacts --data.context 512 --data.fold_file folds/maps.parquet
}

show() { # show RUN ... OPTION ...
  biote table "$@" --markdown
  echo
}

tables() { # the tables of docs/benchmarks.md, as tables.md
  local numbers="pcc mae within_protein_spearman protein_macro_mae" split
  {
    show "by protein=runs/pronab" "two encoders=runs/pronab_control" \
      "paper's rule=runs/pronab_paper" "by cluster=runs/pronab_cluster" --metrics $numbers
    show "by protein=runs/pronab" "two encoders=runs/pronab_control" \
      "paper's rule=runs/pronab_paper" "by cluster=runs/pronab_cluster" --metrics $numbers --pooled
    show "all rows=runs/pronab_rows" --metrics $numbers
    show "one row per input=runs/pronab_rows" --rows "one row per input" --metrics pcc mae
    show "repeated inputs=runs/pronab_rows" --rows "repeated inputs" --metrics pcc mae
    show "Kd agrees=runs/pronab_rows" --rows "Kd agrees" --metrics pcc mae
    show runs/jaspar
    show runs/contacts --metrics f1_8A chance_f1_8A auroc_8A auprc_8A f1_6A chance_f1_6A \
      auroc_6A auprc_6A f1_4A chance_f1_4A auroc_4A auprc_4A
    show runs/probe
    for split in random cluster; do
      show "one encoder, one map=runs/clip_${split}_shared_map" \
        "one encoder, two maps=runs/clip_${split}_two_maps" \
        "two encoders, one map=runs/clip_${split}_shared_map_control" \
        "two encoders, two maps=runs/clip_${split}_two_maps_control" \
        --metrics cosine_true cosine_other auroc ranked_above_within_genome_length_matched \
        recall_at_1_gene_to_protein recall_at_10_gene_to_protein recall_at_100_gene_to_protein
    done
    show runs/dna_binding
    show characters=runs/ss8_protein pieces=runs/ss8_bpe
    show runs/maps
  } > tables.md
}

for step in $steps; do
  echo "== $step"
  "$step"
done
