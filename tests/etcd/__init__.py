"""Tests of the fleet's store, against real etcd."""
