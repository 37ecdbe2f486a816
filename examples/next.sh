#!/bin/sh
# Query a server (segue serve bundle/). Usage: examples/next.sh [ADDRESS]
address="${1:-http://127.0.0.1:8080}"

# which passages may follow a text
curl --silent --show-error "$address/v1/next" --json '{
  "text": "Snow reflects most of the light that falls on it. When it melts, darker ground takes its place.",
  "k": 3
}'
echo

# the bundle that answers, and its gates
curl --silent --show-error "$address/v1/info"
echo
