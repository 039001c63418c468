"""The fleet's store: etcd by its JSON gateway, with what was applied kept on disk, so that its loss changes nothing."""
