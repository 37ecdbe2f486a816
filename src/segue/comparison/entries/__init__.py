"""One file a kind of entry: trained, reranked, text; each turns an option into a retriever."""
