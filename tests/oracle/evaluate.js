// Answers as flagd's JavaScript core does; see evaluate.py. Run with NODE_PATH where that core is installed.
const { FlagdCore, MemoryStorage } = require('@openfeature/flagd-core');
const readline = require('node:readline');

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const DEFAULTS = { boolean: false, string: '', integer: 0, float: 0, object: {} };
const KINDS = { boolean: 'Boolean', string: 'String', integer: 'Number', float: 'Number', object: 'Object' };

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { document, asked } = JSON.parse(line);
  const storage = new MemoryStorage(silent);
  storage.setConfigurations(document, true); // throws where it is not valid by flagd's schemas
  const core = new FlagdCore(storage, silent);
  const answers = asked.map(([key, kind, context]) => {
    const found = core[`resolve${KINDS[kind]}Evaluation`](key, DEFAULTS[kind], context, silent);
    return [found.variant ?? '', found.errorMessage ?? found.value, found.reason];
  });
  process.stdout.write(JSON.stringify(answers) + '\n');
});
