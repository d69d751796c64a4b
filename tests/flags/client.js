// JavaScript's OpenFeature SDKs with one of their providers. Asked on standard input, answers on standard output.
const readline = require('node:readline');
const [name, where] = [process.argv[2], JSON.parse(process.argv[3])];
// Whatever the SDKs log is not an answer.
for (const level of ['log', 'info', 'warn', 'debug']) console[level] = () => {};
const answer = (found) => process.stdout.write(JSON.stringify(found) + '\n');
const said = (found) => ({
  value: found.value, variant: found.variant, reason: found.reason, error: found.errorCode ?? null,
});
const lines = () => readline.createInterface({ input: process.stdin });

async function server(provider) {
  const { OpenFeature } = require('@openfeature/server-sdk');
  await OpenFeature.setProviderAndWait(provider);
  const client = OpenFeature.getClient();
  const ask = {
    Boolean: (key, context) => client.getBooleanDetails(key, false, context),
    String: (key, context) => client.getStringDetails(key, '', context),
    Integer: (key, context) => client.getNumberDetails(key, 0, context),
    Number: (key, context) => client.getNumberDetails(key, 0, context),
    Object: (key, context) => client.getObjectDetails(key, {}, context),
  };
  for await (const line of lines()) {
    const [type, key, context] = JSON.parse(line);
    answer(said(await ask[type](key, context)));
  }
}

async function web() {
  // What a browser has.
  global.EventSource = require('eventsource').EventSource;
  const { OpenFeature } = require('@openfeature/web-sdk');
  const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
  const headers = [['Authorization', `Bearer ${where.token}`]];
  let context = null;
  for await (const line of lines()) {
    const [type, key, wanted] = JSON.parse(line);
    if (JSON.stringify(wanted) !== JSON.stringify(context)) {
      const first = context === null;
      context = wanted;
      await OpenFeature.setContext(context);
      if (first) await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: where.url, headers }));
    }
    const client = OpenFeature.getClient();
    const ask = {
      Boolean: () => client.getBooleanDetails(key, false),
      String: () => client.getStringDetails(key, ''),
      Integer: () => client.getNumberDetails(key, 0),
      Number: () => client.getNumberDetails(key, 0),
      Object: () => client.getObjectDetails(key, {}),
    };
    answer(said(ask[type]()));
  }
}

if (name === 'ofrep') {
  const { OFREPProvider } = require('@openfeature/ofrep-provider');
  server(new OFREPProvider({ baseUrl: where.url, headers: [['Authorization', `Bearer ${where.token}`]] }));
} else if (name === 'flagd') {
  const { FlagdProvider } = require('@openfeature/flagd-provider');
  server(new FlagdProvider({
    resolverType: 'in-process', host: where.host, port: where.grpc, tls: false,
    selector: `flagSetId=${where.set},token=${where.token}`,
  }));
} else {
  web();
}
