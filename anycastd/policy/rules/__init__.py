"""The rules of policy, one concern a file. Each is (facts, memory, draft) -> draft and explains itself by a Step."""
