/** The two jobs that FleetCron's own documentation shows, and its configuration. */
export const DAILY_REPORT = {
  name: 'Daily Report',
  enabled: true,
  hour: 9,
  minute: 30,
  method: 'GET',
  url: '{{BASE_URL}}/report',
  headers: { Authorization: 'Bearer {{API_SECRET}}' },
  timeout_sec: 30,
  retry: { retries: 3, delay_sec: 5 },
};

export const DATA_PIPELINE = {
  name: 'Data Pipeline',
  enabled: true,
  hour: null,
  minute: 0,
  actions: [
    { type: 'http', name: 'Fetch Data', method: 'GET', url: '{{BASE_URL}}/api/data', timeout_sec: 60 },
    {
      type: 'http',
      name: 'Process Data',
      method: 'POST',
      url: '{{BASE_URL}}/api/process',
      when: { hour_in: [0, 12] },
      continue_on_failure: false,
    },
  ],
};

export const CONFIG = {
  mongodb_uri: 'mongodb+srv://user:pass@cluster.mongodb.net/',
  db_name: 'fleetcron',
  tz: 'Europe/Berlin',
  max_order: 10,
  secrets: { BASE_URL: 'https://api.example.com', API_SECRET: 'your-secret-key' },
};
