"""The specification's rules of topic filters, word for word and slowly: what oracles go by."""


def matches(name, topic):
    """Whether a subscription to the filter `name` gets what is published to `topic`."""
    if topic.startswith("$") and name[0] in "+#":
        return False
    levels, words = name.split("/"), topic.split("/")
    for number, level in enumerate(levels):
        if level == "#":
            return True
        if number >= len(words) or level not in ("+", words[number]):
            return False
    return len(levels) == len(words)
