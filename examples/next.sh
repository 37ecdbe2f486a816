#!/bin/sh
# Ask a server (segue serve bundle/) which passage comes next. Usage: examples/next.sh [ADDRESS]
address="${1:-http://127.0.0.1:8080}"

# the beginning of a document, as text
curl --silent --show-error "$address/v1/next" --json '{
  "text": "Snow reflects most of the light that falls on it. When it melts, darker ground takes its place.",
  "k": 3
}'
echo

# what is served, and the gates it passed
curl --silent --show-error "$address/v1/info"
echo
